"""Message passing between all atoms of a molecule.

J. Gilmer, S. Schoenholz, P. Riley, O. Vinyals, G. Dahl, "Neural message passing for quantum
chemistry", ICML 2017: edge networks, gated recurrent updates, and a set-to-set readout (O. Vinyals,
S. Bengio, M. Kudlur, "Order matters", ICLR 2016).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

ELEMENTS = (1, 6, 7, 8, 9)  # H, C, N, O, F
BONDS = 4  # single, double, triple, aromatic
NODE_FEATURES, EDGE_FEATURES = len(ELEMENTS) + 2 + BONDS, BONDS + 1


class MoleculeNet(nn.Module):
    """Each atom gathers messages from all others, through what lies between them.

    A message from atom ``j`` to ``i`` is ``A(e_ij) h_j``, where a network makes the matrix ``A`` of
    the bond and the distance. Its last layer is linear, so messages are summed before it and not
    after: the same numbers for a twentieth of the work. Results do not depend on the order of the
    atoms, nor on where the molecule is and which way it is turned.

    Args:
        width: Numbers of an atom's state.
        hidden: Width of the edge network.
        rounds: Rounds of messages.
        readouts: Steps of the set-to-set readout.
    """

    def __init__(
        self, *, width: int = 64, hidden: int = 128, rounds: int = 3, readouts: int = 3
    ) -> None:
        super().__init__()
        self.out_features, self.rounds, self.readouts = 2 * width, rounds, readouts
        self.start = nn.Linear(NODE_FEATURES, width)
        self.edge = nn.Linear(EDGE_FEATURES, hidden)
        self.mix = nn.Linear(hidden * width, width, bias=False)  # A's last layer, before A is made
        self.between = nn.Linear(width, width, bias=False)  # its bias
        self.own = nn.Linear(width, width)
        self.update = nn.GRUCell(width, width)
        self.read = nn.LSTMCell(2 * width, width)

    def forward(self, molecules: Tensor) -> Tensor:
        """Features ``(B, out_features)`` of molecules ``(B, N, 4 + N)``.

        A row is an atom: its number (0 for none), its place in Å, and the orders of its bonds (4
        for an aromatic one) to the atoms of all rows.
        """
        numbers, places, bonds = molecules.split([1, 3, molecules.shape[1]], dim=-1)
        atoms = (numbers > 0).to(molecules.dtype)  # (B, N, 1)
        edges, nodes = _edges(places, bonds), _nodes(numbers, bonds)
        others = (atoms * atoms.mT) * (1 - torch.eye(len(atoms[0]), device=atoms.device))
        gates = self.edge(edges).relu() * others[..., None]  # (B, N, N, K)
        count = others.sum(-1, keepdim=True).clamp(min=1)  # (B, N, 1)
        gates, mean = (gates / count[..., None]).transpose(2, 3), others / count
        states = self.start(nodes).relu() * atoms  # (B, N, D)
        for _ in range(self.rounds):
            gathered = (gates @ states[:, None]).flatten(2)  # (B, N, K * D)
            messages = self.mix(gathered) + self.between(mean @ states) + self.own(states)
            flat = self.update(messages.relu().flatten(0, 1), states.flatten(0, 1))
            states = flat.view_as(states) * atoms
        return self._readout(states, atoms)

    def _readout(self, states: Tensor, atoms: Tensor) -> Tensor:
        """A query asks all atoms, and what it hears becomes part of the next query."""
        answer = states.new_zeros(len(states), self.out_features)
        hidden = cell = states.new_zeros(len(states), states.shape[-1])
        for _ in range(self.readouts):
            hidden, cell = self.read(answer, (hidden, cell))
            scores = (states @ hidden[:, :, None]).masked_fill(atoms == 0, float("-inf"))
            answer = torch.cat([hidden, (scores.softmax(1) * states).sum(1)], dim=1)
        return answer


def _nodes(numbers: Tensor, bonds: Tensor) -> Tensor:
    """Element, atomic number, hydrogens next to it, and bonds of each order."""
    elements = numbers == torch.tensor(ELEMENTS, device=numbers.device)  # (B, N, 5)
    hydrogens = ((bonds > 0) & (numbers == 1).mT).sum(-1, keepdim=True)
    orders = torch.stack([(bonds == order).sum(-1) for order in range(1, BONDS + 1)], dim=-1)
    return torch.cat([elements, numbers / 9, hydrogens, orders], dim=-1).to(numbers.dtype)


def _edges(places: Tensor, bonds: Tensor) -> Tensor:
    """Order of the bond, one-hot (nothing for none), and distance."""
    orders = torch.stack([bonds == order for order in range(1, BONDS + 1)], dim=-1)
    squares = (places[:, :, None] - places[:, None]).square().sum(-1, keepdim=True)
    distance = squares.clamp(min=1e-12).sqrt()  # an atom's to itself has a slope, too
    return torch.cat([orders.to(places.dtype), distance], dim=-1)
