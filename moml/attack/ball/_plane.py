"""The smallest perturbation of a box that raises a linear function by a given amount.

F. Croce, M. Hein, "Minimally distorted adversarial examples with a fast adaptive boundary attack",
ICML 2020: projections onto a hyperplane and the box of the data together.
"""

from __future__ import annotations

import torch
from torch import Tensor

UNBOUNDED = 1e30  # room of entries without a bound


def along(rates: Tensor, slopes: Tensor, room: Tensor, amount: Tensor) -> Tensor:
    """Entries that all move at rates of their own until they meet their bound.

    Args:
        rates: Distance of every entry per unit of a common time, ``(B, D)``.
        slopes: Gain per distance, at least zero.
        room: How far each entry can go, at least zero.
        amount: Gain to be had, at least zero, ``(B, 1)``.

    Returns:
        Distances at the first time with this gain; all of the room where there is no such time.
    """
    slopes = torch.where(rates > 0, slopes, 0)
    stops = torch.where(slopes > 0, room / torch.where(rates > 0, rates, 1), 0)
    stops, order = stops.sort(1)
    gained = (slopes * room).gather(1, order)  # by the entries that have stopped
    moving = (slopes * rates).gather(1, order)  # gain per time of an entry
    before = gained.cumsum(1) - gained
    speed = moving.flip(1).cumsum(1).flip(1)  # of those that have not
    at_stops = before + speed * stops
    first = (at_stops < amount).sum(1, keepdim=True).clamp(max=stops.shape[1] - 1)
    pace = speed.gather(1, first)
    time = (amount - before.gather(1, first)) / torch.where(pace > 0, pace, 1)
    time = torch.minimum(time.clamp(min=0), stops[:, -1:])
    return torch.minimum(time * rates, room)


def one_by_one(priority: Tensor, slopes: Tensor, room: Tensor, amount: Tensor) -> Tensor:
    """Entries that move one after another, each until it meets its bound.

    Args:
        priority: Who goes first, the largest, ``(B, D)``.
        slopes: Gain per distance, at least zero.
        room: How far each entry can go, at least zero.
        amount: Gain to be had, at least zero, ``(B, 1)``.
    """
    order = priority.argsort(1, descending=True)
    gains = (slopes * room).gather(1, order)
    before = gains.cumsum(1) - gains
    share = ((amount - before) / torch.where(gains > 0, gains, 1)).clamp(0, 1)
    moved = torch.where(gains > 0, share, 0) * room.gather(1, order)
    return torch.zeros_like(room).scatter(1, order, moved)
