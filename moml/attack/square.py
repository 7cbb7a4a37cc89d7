"""The Square attack: a random search that asks for outputs only."""

from __future__ import annotations

import torch
from torch import Tensor

from moml._support import checks
from moml.attack._assess import assess
from moml.attack._base import Attack, Bounds
from moml.attack._objective import Objective
from moml.attack._region import Region
from moml.attack._windows import Windows, area_share, bumps, window_size
from moml.attack.ball import L2, Ball, Linf, over


class Square(Attack):
    """Changes squares at random, and keeps what raises the loss.

    Andriushchenko, Croce, Flammarion, Hein, `Square Attack: a query-efficient black-box adversarial
    attack via random search <https://arxiv.org/abs/1912.00049>`_, ECCV 2020. No gradient is taken,
    so it reaches models that hide theirs, or have none: rounded inputs, trees, functions behind an
    interface. Squares shrink over the queries; each sample has its own.

    Samples whose goal is reached are left alone. A scale-free loss such as `margin` suits it.

    Args:
        ball: Where perturbations may lie, `Linf` or `L2`.
        queries: Forward passes, at most.
        share: Share of the positions that the first square covers.
        bounds: Smallest and largest value of the data; ``None`` for unbounded data.
        eot: Forward passes averaged at every query, for models that are random.
        seed: Seed of the search.

    Raises:
        ValueError: If the ball is another, or a number is out of range.
    """

    def __init__(
        self,
        ball: Ball,
        *,
        queries: int = 5000,
        share: float = 0.8,
        bounds: Bounds | None = (0.0, 1.0),
        eot: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(ball, bounds=bounds, eot=eot, seed=seed)
        if not isinstance(ball, (Linf, L2)):
            raise ValueError(f"`ball` should be Linf or L2 for Square, found {ball}.")
        checks.whole("queries", queries, least=1)
        checks.number("share", share, above=0, most=1)
        self.queries, self.share = queries, share

    @torch.no_grad()
    def perturb_within(self, goal: Objective, region: Region) -> Tensor:
        """Perturbed inputs, see `Attack.perturb_within`."""
        best = region.inside(region.x + self._first(region))
        result, rows = best.clone(), torch.arange(len(best), device=best.device)
        now = assess(goal, best)
        loss, kept = now.total, (~now.done).nonzero()[:, 0]
        draw = self._linf if isinstance(self.ball, Linf) else self._l2
        for query in range(self.queries - 1):
            result[rows] = best
            rows, best, loss = rows[kept], best[kept], loss[kept]
            goal, region = goal.select(kept), region.select(kept)
            if len(rows) == 0:
                return result
            share = area_share(self.share, query, self.queries)
            point = draw(region, best, share, rows, len(result))
            now = assess(goal, point)
            better = (now.total > loss) | now.done
            best = torch.where(over(better, best), point, best)
            loss = torch.where(better, now.total, loss)
            kept = (~now.done).nonzero()[:, 0]
        result[rows] = best
        return result

    def _first(self, region: Region) -> Tensor:
        """Stripes, or a grid of bumps; at the surface of the ball."""
        images = _images(region.x)
        count, channels, height, width = images.shape
        if isinstance(self.ball, Linf):
            signs = self._signs((count, channels, 1, width)).to(images)
            delta = (region.ball.eps * signs).expand_as(images)
            return region.ball.scaled(delta.reshape(region.x.shape))
        delta = torch.zeros_like(images)
        tile = (max(height // 5, 1), max(width // 5, 1))
        for top in range(0, height - tile[0] + 1, tile[0]):
            for left in range(0, width - tile[1] + 1, tile[1]):
                bump = bumps(*tile, across=self._coin()).to(images)
                delta[:, :, top : top + tile[0], left : left + tile[1]] = bump * self._signs(
                    (count, channels, 1, 1)
                ).to(images)
        return region.ball.eps * region.ball.steepest(delta.reshape(region.x.shape))

    def _linf(self, region: Region, best: Tensor, share: float, rows: Tensor, count: int) -> Tensor:
        """One square at the surface of the ball, on one side or the other per channel."""
        whole = _images(best[:1]).expand(count, -1, -1, -1)
        size = window_size(whole, share, least=1, odd=False)
        windows = Windows.drawn(whole, size, self.generator).select(rows)
        signs = self._signs((count, whole.shape[1], 1, 1)).to(best)[rows]
        step = 2 * region.ball.eps * signs * windows.mask(_images(best))
        return region.inside(best + region.ball.scaled(step.reshape(best.shape)))

    def _l2(self, region: Region, best: Tensor, share: float, rows: Tensor, count: int) -> Tensor:
        """Moves the budget of one window, and what is left of it, into another as a bump."""
        ball = region.ball
        delta = _images(ball.unscaled(best - region.x))
        whole = delta[:1].expand(count, -1, -1, -1)
        size = window_size(whole, share, least=3, odd=True)
        to, away = (Windows.drawn(whole, size, self.generator).select(rows) for _ in range(2))
        signs = self._signs((count, whole.shape[1], 1, 1)).to(best)[rows]
        either = to.mask(delta) | away.mask(delta)
        spare = (ball.eps**2 - (delta**2).sum((1, 2, 3), keepdim=True)).clamp(min=0)
        budget = (
            spare / delta.shape[1] + (delta * either).square().sum((2, 3), keepdim=True)
        ).sqrt()
        old = delta[to.index(delta)]
        new = bumps(*size, across=self._coin()).to(best) * signs + _unit(old)
        delta = torch.where(away.mask(delta), 0, delta)
        delta[to.index(delta)] = budget * _unit(new)
        flat = delta.reshape(best.shape)
        length = flat.flatten(1).norm(dim=1).clamp(min=1e-12)
        return region.inside(region.x + ball.scaled(flat * over(ball.eps / length, flat)))

    def _signs(self, shape: tuple[int, ...]) -> Tensor:
        return 2.0 * torch.randint(2, shape, generator=self.generator) - 1

    def _coin(self) -> bool:
        return bool(torch.randint(2, (1,), generator=self.generator))


def _images(x: Tensor) -> Tensor:
    """Samples as ``(B, C, H, W)``: series ``(B, C, L)`` are one row high, tables ``(B, D)`` too.

    Raises:
        ValueError: If they have more dimensions.
    """
    if x.dim() == 4:
        return x
    if x.dim() > 4:
        raise ValueError(
            "`x` should be images, series or rows of a table for Square, "
            f"found shape {tuple(x.shape)}."
        )
    return x[:, :, None] if x.dim() == 3 else x.reshape(len(x), 1, 1, -1)


def _unit(windows: Tensor) -> Tensor:
    """Every channel of a window at length 1."""
    return windows / windows.norm(dim=(2, 3), keepdim=True).clamp(min=1e-12)
