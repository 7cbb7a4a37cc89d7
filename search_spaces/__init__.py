"""Concrete search spaces for architecture search on `moml`."""

from search_spaces.nb_digits import NBDigits

__all__ = ["NBDigits"]
