"""A loop of one's own in several processes: what each of them does."""

import os

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

import moml
from moml.weighting import EW, FAMO, MGDA, UW, CAGrad, GradDrop, MoCo, PCGrad, UPGrad
from tests.test_own_loop import TASKS, Trunk, inputs

METHODS = {m.__name__: m for m in (EW, UW, FAMO, MGDA, MoCo, CAGrad, GradDrop, UPGrad)}


def train(method, part, group, *, absent=(), wrapped=False, representation=False, **options):
    """Parameters and weights after three steps on this process's part."""
    model = Trunk()
    forward = DistributedDataParallel(Called(model)) if wrapped else Called(model)
    torch.manual_seed(0)
    weighting = method().setup(TASKS)
    optimizer = torch.optim.SGD([*model.parameters(), *weighting.parameters()], lr=0.05)
    seen = []
    for seed in range(3):
        optimizer.zero_grad()
        z, losses = forward(part(inputs(seed)))
        losses = {task: loss for task, loss in losses.items() if task not in absent}
        weights = moml.backward(
            losses,
            weighting,
            features=z,
            inputs=model.parameters(),
            group=group,
            representation=representation,
            **options,
        )
        seen.append(torch.zeros(3) if weights is None else weights)
        optimizer.step()
    every = [*model.parameters(), *weighting.parameters()]
    return [torch.cat([p.detach().flatten() for p in every]), *seen]


class Called(torch.nn.Module):
    """Losses by an ordinary forward pass."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        z = self.model.encoder(x)
        return z, self.model.heads_losses(z)


def other_seeds(rank, part, group):
    """A method that draws, seeded by the process's number, as data pipelines often are."""
    model = Trunk()
    torch.manual_seed(rank)
    weighting = PCGrad().setup(TASKS)
    for seed in range(3):
        losses = model.losses(part(inputs(seed)))
        weights = moml.backward(losses, weighting, inputs=model.parameters(), group=group)
    return [weights, weighting.generator.get_state()]


def refusals(rank):
    """Sentences that end what cannot be."""
    from torch.distributed.fsdp import fully_shard

    group = dist.group.WORLD
    model = Trunk()

    def sentence(**options):
        try:
            moml.backward(model.losses(inputs()), MGDA(), **options)
        except ValueError as error:
            return str(error)
        return "worked"

    found = {"alone": sentence(), "inputs": sentence(group=group)}
    hooked = Trunk()
    hooked.heads["a"].weight.register_post_accumulate_grad_hook(lambda p: None)
    other = Trunk()
    torch.nn.init.constant_(other.heads["b"].bias, rank)
    found["other"] = sentence(group=group, inputs=other.parameters())
    found["hooks"] = sentence(group=group, inputs=hooked.parameters())
    sharded = fully_shard(Trunk(torch.float32))
    found["sharded"] = sentence(group=group, inputs=sharded.parameters())
    return found


def work(rank, count, folder):
    """All cases, in one of the processes."""
    os.environ.update(MASTER_ADDR="127.0.0.1")
    torch.set_num_threads(1)
    store = dist.FileStore(f"{folder}/store", count)
    dist.init_process_group("gloo", rank=rank, world_size=count, store=store)
    group = dist.group.WORLD

    def half(x):
        return x.chunk(count)[rank]

    found = {name: train(method, half, group) for name, method in METHODS.items()}
    found["wrapped EW"] = train(EW, half, group, wrapped=True)
    found["wrapped MGDA"] = train(MGDA, half, group, wrapped=True)
    found["representation"] = train(MGDA, half, group, representation=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    found["scaler"] = train(MGDA, half, group, scaler=scaler)
    found["absent"] = train(MGDA, half, group, absent="b" if rank else "c")
    alone = [dist.new_group([r]) for r in range(count)][rank]
    found["alone"] = train(MGDA, half, alone)
    found["other seeds"] = other_seeds(rank, half, group)
    found["refusals"] = refusals(rank)
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()
