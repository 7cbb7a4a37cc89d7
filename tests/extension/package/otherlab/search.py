"""The smallest networks first."""

from moml.nas.method import OuterMethod
from moml.nas.outer import OuterSearch


class Ascending(OuterSearch):
    """Of a handful of new architectures, the one with the fewest parameters."""

    def propose(self):
        return min((self.any_new() for _ in range(8)), key=self.space.num_parameters)


class SmallestFirst(OuterMethod):
    """Trains what is small before what is large."""

    search = Ascending
