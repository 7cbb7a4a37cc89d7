"""Bi-level problems whose hypergradients and Pareto sets are known in closed form."""

import numpy as np
import torch
from scipy.optimize import nnls
from torch import nn

from moml.bilevel import BilevelProblem

D = torch.float64


class Quadratic(BilevelProblem):
    """Q1: lower ``w'Aw/2 - w'(Bx + c)``, upper ``|w - a_k|^2/2 + mu |x - b_k|^2/2``.

    All upper objectives share the Hessian ``M'M + mu I`` with ``M = A^-1 B`` as functions of x, so
    the Pareto set is the convex hull of their minimisers.
    """

    def __init__(self, n=6, p=10, objectives=3, *, mu=0.5, kappa=2.0, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=D)

        basis = torch.linalg.qr(draw(p, p))[0]
        self.A = basis @ torch.diag(torch.linspace(1 / kappa, 1, p, dtype=D)) @ basis.T
        self.B, self.c = draw(p, n) / n**0.5, draw(p)
        self.a, self.b, self.mu = draw(objectives, p), draw(objectives, n), mu
        self.upper = nn.Module()
        self.upper.x = nn.Parameter(draw(n))

    @property
    def tasks(self):
        return tuple(f"F{k}" for k in range(len(self.a)))

    @property
    def module(self):
        return self.upper

    @property
    def x(self):
        return self.upper.x.detach()

    def upper_parameters(self):
        return {"x": self.upper.x}

    def lower_init(self, omega, batch, previous):
        return previous or {"w": torch.zeros(len(self.c), dtype=D)}

    def lower_loss(self, theta, omega, batch):
        w = theta["w"]
        return 0.5 * w @ self.A @ w - w @ (self.B @ omega["x"] + self.c)

    def upper_losses(self, theta, omega, batch):
        below = (theta["w"] - self.a).square().sum(1) / 2
        direct = self.mu * (omega["x"] - self.b).square().sum(1) / 2
        return {name: below[k] + direct[k] for k, name in enumerate(self.tasks)}

    # Closed forms

    def hypergradients(self):
        """At the lower optimum, (m, n)."""
        w = torch.linalg.solve(self.A, self.B @ self.x + self.c)
        return self._rows(w, torch.linalg.solve(self.A, self.B))

    def unrolled(self, steps, rate, differentiated=None):
        """After gradient descent from zero; of the last ``differentiated`` steps only, if given."""
        inverse = torch.linalg.inv(self.A)
        w = self._gap(steps, rate) @ inverse @ (self.B @ self.x + self.c)
        return self._rows(w, self._gap(differentiated or steps, rate) @ inverse @ self.B)

    def _gap(self, steps, rate):
        unit = torch.eye(len(self.A), dtype=D)
        return unit - torch.linalg.matrix_power(unit - rate * self.A, steps)

    def _rows(self, w, derivative):
        return self.mu * (self.x - self.b) + (w - self.a) @ derivative

    def curvature(self):
        """The upper objectives' Hessian as functions of x."""
        m = torch.linalg.solve(self.A, self.B)
        return m.T @ m + self.mu * torch.eye(m.shape[1], dtype=D)

    def minimisers(self):
        """Of each objective, (m, n)."""
        m, d = torch.linalg.solve(self.A, self.B), torch.linalg.solve(self.A, self.c)
        right = (self.a - d) @ m + self.mu * self.b
        return torch.linalg.solve(self.curvature(), right.T).T

    def distance(self, x):
        """From x to the Pareto set, over its diameter."""
        corners = self.minimisers().numpy()
        diameter = max(np.linalg.norm(u - v) for u in corners for v in corners)
        heavy = 1e4 * diameter
        system = np.vstack([corners.T, np.full(len(corners), heavy)])
        weights, _ = nnls(system, np.append(x.numpy(), heavy))
        return float(np.linalg.norm(weights @ corners - x.numpy()) / diameter)


class LinearMAML(BilevelProblem):
    """LM: linear regression adapted by gradient descent from a learnt start.

    The T-step derivative is ``(I - lr X'X/n)^T``, whatever the objective.
    """

    def __init__(self, objectives=2, *, size=5, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def draw(*shape):
            return torch.randn(*shape, generator=generator, dtype=D)

        self.x, self.y = draw(8, size), draw(8)
        self.queries, self.answers = draw(objectives, 6, size), draw(objectives, 6)
        self.start = nn.Module()
        self.start.w = nn.Parameter(draw(size))

    @property
    def tasks(self):
        return tuple(f"q{k}" for k in range(len(self.queries)))

    @property
    def module(self):
        return self.start

    def upper_parameters(self):
        return {"w": self.start.w}

    def lower_init(self, omega, batch, previous):
        return {"w": omega["w"]}

    def lower_loss(self, theta, omega, batch):
        return (self.x @ theta["w"] - self.y).square().mean() / 2

    def upper_losses(self, theta, omega, batch):
        errors = self.queries @ theta["w"] - self.answers
        return {name: errors[k].square().mean() / 2 for k, name in enumerate(self.tasks)}

    def hypergradients(self, steps, rate):
        hessian = self.x.T @ self.x / len(self.x)
        power = torch.linalg.matrix_power(torch.eye(len(hessian), dtype=D) - rate * hessian, steps)
        optimum = torch.linalg.solve(hessian, self.x.T @ self.y / len(self.x))
        adapted = optimum + power @ (self.start.w.detach() - optimum)
        errors = self.queries @ adapted - self.answers
        rows = (errors[:, :, None] * self.queries).mean(1)
        return rows @ power


class DebSinha(BilevelProblem):
    """TP2 with a scalar lower objective (Deb & Sinha, 2010): Pareto-optimal x in [1/2, 1].

    Lower optimum ``y = (x, 0, ..., 0)``; the front is ``(x^2 + (x - 1)^2, 2 (x - 1)^2)``.
    """

    tasks = ("first", "second")

    def __init__(self, x=0.0, size=4):
        self.size, self.upper = size, nn.Module()
        self.upper.x = nn.Parameter(torch.tensor(x, dtype=D))

    @property
    def module(self):
        return self.upper

    def upper_parameters(self):
        return {"x": self.upper.x}

    def lower_init(self, omega, batch, previous):
        return previous or {"y": torch.zeros(self.size, dtype=D)}

    def lower_loss(self, theta, omega, batch):
        y = theta["y"]
        return (y[0] - omega["x"]).square() / 2 + y[1:].square().sum() / 2

    def upper_losses(self, theta, omega, batch):
        y, x = theta["y"], omega["x"]
        common = (y[0] - 1).square() + y[1:].square().sum()
        return {"first": common + x.square(), "second": common + (x - 1).square()}
