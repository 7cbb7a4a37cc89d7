"""A loop of one's own: `moml.backward` in the place of ``loss.backward()``."""

from moml.own_loop._backward import backward

__all__ = ["backward"]
