"""CPU time of a second-order step of E2RNAS: the order of work of its public code, and ours.

    python scripts/bench_e2rnas.py                # DARTS's space, 8 channels, 4 cells, digits
    python scripts/bench_e2rnas.py --rounds 3

Both search with the same objectives (clean, adversarial, |size - L|, operations), supernet,
executor and data, and train the weights on perturbed samples. In turn in one process on one thread;
the median of paired ratios and their quartiles. Passes through the supernet are counted.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
import argparse
import copy
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from torch import nn

from moml.attack import Linf
from moml.nas.method import E2RNAS, SearchSetting
from moml.nas.method.e2rnas import uniform_size
from moml.nas.relaxation._base import Moment
from moml.weighting import MGDA
from search_spaces import DARTS
from tasks import Digits

MOMENTUM, DECAY, CLIP, RADIUS = 0.9, 3e-4, 5.0, 0.01


class Published:
    """The order of work of `yuezhixiong/NAS-Benchmark`, `DARTS/architect.py`, without its defects.

    Every objective's gradient by the architecture parameters is a backward pass of its own, which
    is thrown away; so is the direction of each attack; the weighted sum is differentiated again, to
    everything; and the training step begins with a pass that the virtual step has made already.
    The copy of the network for the virtual step is made once here and refilled, which flatters it.
    """

    def __init__(self, setting):
        parts = E2RNAS().compose(setting)
        self.arch, self.net = parts.problem.arch, parts.problem.supernet
        self.ahead, self.setting = copy.deepcopy(self.net), setting
        self.loss = setting.suite.tasks[setting.task].loss
        self.upper = torch.optim.Adam(
            self.arch.parameters(), setting.upper_learning_rate, betas=(0.5, 0.999),
            weight_decay=1e-3,
        )  # fmt: skip
        self.lower = torch.optim.SGD(
            self.net.parameters(), setting.learning_rate, momentum=MOMENTUM, weight_decay=DECAY
        )
        self.target = uniform_size(setting)
        self.generator = torch.Generator().manual_seed(setting.seed)
        self.number = 0

    def step(self, batch):
        """Architecture parameters first, then weights."""
        (train,), held = batch.lower, batch.upper
        self._search(train, held)
        self._train(train)
        self.number += 1

    def _search(self, train, held):
        self.upper.zero_grad()
        self._look_ahead(train)
        alphas, rate = list(self.arch.parameters()), self.setting.learning_rate
        x = held.inputs.detach().requires_grad_()
        losses = [self._loss(self.ahead, x, held)]
        rows = [torch.autograd.grad(losses[0], alphas, retain_graph=True)]
        (slope,) = torch.autograd.grad(losses[0], x, retain_graph=True)
        losses.append(self._loss(self.ahead, self._perturbed(x, slope), held))
        space, probabilities = self.setting.space, self._probabilities()
        losses.append((space.expected_parameters(probabilities) / self.target - 1.0).abs())
        losses.append(space.expected_flops(probabilities) / 1e8)
        rows += [torch.autograd.grad(loss, alphas, retain_graph=True) for loss in losses[1:]]
        flat = torch.stack([torch.cat([g.flatten() for g in row]).double() for row in rows])
        flat = flat / flat.norm(dim=1, keepdim=True)
        weights = MGDA().weights(flat @ flat.T)
        self.ahead.zero_grad()
        sum(w * loss for w, loss in zip(weights.tolist(), losses, strict=True)).backward()
        vector = [p.grad for p in self.ahead.parameters()]
        product = self._product(vector, train, alphas)
        with torch.no_grad():
            for alpha, hvp in zip(alphas, product, strict=True):
                alpha.grad.sub_(hvp, alpha=rate)
        self.upper.step()

    def _look_ahead(self, train):
        parameters = list(self.net.parameters())
        grads = torch.autograd.grad(self._loss(self.net, train.inputs, train), parameters)
        with torch.no_grad():
            for p, q, g in zip(parameters, self.ahead.parameters(), grads, strict=True):
                moved = g + DECAY * p
                if p in self.lower.state:
                    moved += MOMENTUM * self.lower.state[p]["momentum_buffer"]
                q.copy_(p - self.setting.learning_rate * moved)

    def _product(self, vector, train, alphas):
        """Of the mixed second derivative and a vector, by a central difference."""
        radius = RADIUS / float(torch.stack([v.norm() for v in vector]).norm())
        found = []
        for shift in (radius, -2 * radius):
            self._shift(vector, shift)
            loss = self._loss(self.net, train.inputs, train)
            found.append(torch.autograd.grad(loss, alphas))
        self._shift(vector, radius)
        return [(a - b) / (2 * radius) for a, b in zip(*found, strict=True)]

    @torch.no_grad()
    def _shift(self, vector, length):
        for p, v in zip(self.net.parameters(), vector, strict=True):
            p.add_(v, alpha=length)

    def _train(self, train):
        x = train.inputs.detach().requires_grad_()
        loss = self._loss(self.net, x, train)
        loss.backward(retain_graph=True, inputs=self._everything())
        (slope,) = torch.autograd.grad(loss, x)
        loss = self._loss(self.net, self._perturbed(x, slope), train)
        self.lower.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), CLIP)
        self.lower.step()

    def _everything(self):
        return [*self.net.parameters(), *self.arch.parameters()]

    def _loss(self, net, x, batch):
        weights = self.arch.weights(Moment(self.number, self.setting.steps, self.number))
        return self.loss(net(x, weights), batch.targets[self.setting.task])

    def _probabilities(self):
        return {name: p.double() for name, p in self.arch.probabilities().items()}

    def _perturbed(self, x, slope):
        """One step of 1.25 radii from a random start, back into the ball and the bounds."""
        eps = self.setting.ball.eps
        delta = eps * (2 * torch.rand(x.shape, generator=self.generator) - 1)
        delta = (delta + 1.25 * eps * slope.sign()).clamp(-eps, eps)
        return (x.detach() + delta).clamp(*self.setting.bounds)


class Ours:
    """`moml.nas.method.E2RNAS` as `moml search` runs it."""

    def __init__(self, setting):
        self.parts = E2RNAS().compose(setting)
        self.parts.weighting.setup(self.parts.problem.tasks)
        self.net = self.parts.problem.supernet

    def step(self, batch):
        """As the training loop does it."""
        parts = self.parts
        parts.updater.zero_grad()
        evaluation = parts.oracle(parts.problem, batch)
        weights = parts.weighting.update(evaluation)
        parts.updater.step(evaluation, weights)
        parts.oracle.advance(parts.problem)


class Passes:
    """Forward and backward passes through some networks."""

    def __init__(self, *nets):
        self.forward = self.backward = 0
        self.hooks = [net.register_forward_hook(self._seen) for net in nets]

    def _seen(self, module, inputs, output):
        self.forward += 1
        if output.requires_grad:
            output.register_hook(self._back)

    def _back(self, gradient):
        self.backward += 1

    def close(self):
        """Count no more."""
        for hook in self.hooks:
            hook.remove()


def main():
    """Print passes, milliseconds and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    setting = SearchSetting(
        space=DARTS(channels=8, layers=4, image=(1, 8, 8)), suite=Digits(), task="digit",
        weighting=None, ball=Linf(0.1), bounds=(0.0, 1.0), steps=1000, batch_size=32,
        learning_rate=0.025, upper_learning_rate=3e-4, held_out=0.5, budget=1, seed=0, device="cpu",
    )  # fmt: skip
    published, ours = Published(setting), Ours(setting)
    stream = setting.stream()
    for name, scheme, nets in (
        ("public code", published, (published.net, published.ahead)),
        ("here", ours, (ours.net,)),
    ):
        passes = Passes(*nets)
        scheme.step(next(stream))
        passes.close()
        print(f"{name}: {passes.forward} forward and {passes.backward} backward passes", flush=True)
    times = []
    for turn in range(options.rounds):
        batch, pair = next(stream), [published, ours]
        spent = {}
        for scheme in pair if turn % 2 else reversed(pair):
            started = time.process_time()
            scheme.step(batch)
            spent[scheme] = time.process_time() - started
        times.append([spent[published], spent[ours]])
    seconds = np.array(times)
    low, middle, high = np.percentile(seconds[:, 0] / seconds[:, 1], [25, 50, 75])
    a, b = np.median(seconds, axis=0)
    print(f"public code {1e3 * a:.0f} ms, here {1e3 * b:.0f} ms a step")
    print(f"times faster: {middle:.2f} [{low:.2f}, {high:.2f}] in {options.rounds} rounds")


if __name__ == "__main__":
    main()
