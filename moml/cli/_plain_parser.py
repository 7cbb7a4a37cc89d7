"""The parser of commands with a few plain options: no classes, no YAML."""

from __future__ import annotations

from typing import NoReturn

from jsonargparse import ArgumentParser

from moml.jobs.phrases import phrased


class PlainParser(ArgumentParser):
    """Reports an error in one sentence."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """One sentence instead of a usage page.

        Raises:
            ValueError: Always.
        """
        text = " ".join(message.split())
        raise ValueError(phrased(text, [a.dest for a in self._actions if a.dest]) or text) from ex
