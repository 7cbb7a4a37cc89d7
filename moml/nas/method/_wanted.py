"""Objectives that several methods share."""

from __future__ import annotations

from moml.nas.objective import Adversarial, Clean, Objective


def wanted(*, robust: bool) -> dict[str, Objective]:
    """The validation loss, and the same under attack."""
    return {"clean": Clean(), "adversarial": Adversarial()} if robust else {"clean": Clean()}
