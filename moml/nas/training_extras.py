"""Auxiliary head, drop path and cutout: how DARTS and its successors train what they found."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moml.losses import Loss
from moml.nas.auxiliary_head import AuxiliaryHead, Tapped
from moml.nas.cutout import cutout
from moml.nas.drop_path import DropPath


class Extras:
    """What the training of a found network has besides the loss of its samples.

    Args:
        network: The network; cells of it are told of drop path.
        x: A few of its inputs, ``(B, C, H, W)``.
        auxiliary_weight: Weight of the auxiliary head's loss; 0 for no head.
        drop_path: Probability of leaving out an edge, in the last epoch; it rises linearly from 0.
        cutout: Side of the square that is erased; 0 for none.
        epochs: Number of epochs.
        steps: Number of steps.
        seed: Of the head's weights.

    Attributes:
        head: The auxiliary head, if there is one; not a part of the network.

    Raises:
        ValueError: If the network has no cells, or does not give features of its middle.
    """

    def __init__(
        self,
        network: nn.Module,
        x: Tensor,
        *,
        auxiliary_weight: float,
        drop_path: float,
        cutout: int,
        epochs: int,
        steps: int,
        seed: int,
    ) -> None:
        self.weight, self.most, self.side = auxiliary_weight, drop_path, cutout
        self.epochs, self.steps = epochs, steps
        self.head = _head(network, x, seed) if auxiliary_weight else None
        self._drop: DropPath | None = None
        if drop_path:
            self._drop = DropPath()
            self._drop.install(network)

    def begin(self, x: Tensor, step: int, seed: int) -> Tensor:
        """A step begins: its samples, some of them cut; draws depend on seed and step alone."""
        own = 1_000_003 * (seed + 1) + step
        if self._drop is not None:
            self._drop.begin(self.most * (step * self.epochs // self.steps) / self.epochs, own)
        if not self.side:
            return x
        return cutout(x, self.side, torch.Generator().manual_seed(own + 7_919))

    def loss(self, loss: Loss, network: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
        """The loss of the network and, weighted, of its auxiliary head."""
        if self.head is None:
            return loss(network(x), labels)
        assert isinstance(network, Tapped)
        logits, middle = network.tapped(x)
        return loss(logits, labels) + self.weight * loss(self.head(middle), labels)


def _head(network: nn.Module, x: Tensor, seed: int) -> AuxiliaryHead:
    if not isinstance(network, Tapped):
        raise ValueError(
            "`auxiliary_weight` should be 0 for a network that gives no features of its middle, "
            f"found {type(network).__name__}. Subclass `moml.nas.Tapped`, as the networks of DARTS "
            "do."
        )
    weight = next(network.parameters())
    modes = [(module, module.training) for module in network.modules()]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        network.eval()
        logits, middle = network.tapped(x.to(weight))
        for module, mode in modes:
            module.training = mode
        height, width = middle.shape[2:]
        head = AuxiliaryHead(middle.shape[1], logits.shape[1], height=height, width=width)
        return head.to(weight.device)
