"""Stored weights of a backbone, from a local file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from moml._support import checks


def read_weights(
    path: Path | str, *, like: Mapping[str, Tensor], leave_out: str
) -> dict[str, Tensor]:
    """A state dict with the keys and shapes of another; nothing but tensors is ever unpickled.

    Args:
        path: ``.safetensors``, or what `torch.save` wrote of a state dict.
        like: The state dict it has to fit.
        leave_out: Prefix of keys that are not wanted.

    Raises:
        ValueError: If it cannot be read or does not fit.
    """
    try:
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import load_file

            stored = load_file(path)
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # both raise what their formats' readers raise
        raise ValueError(
            f"`weights` should be a file of tensors by name, found '{path}', which cannot be read "
            f"as one: {checks.said(error)}"
        ) from error
    found = {key: value for key, value in stored.items() if not key.startswith(leave_out)}
    counters = {key for key in like if key.endswith("num_batches_tracked")}  # not in old files
    missing = [key for key in like if key not in found and key not in counters]
    unknown = [key for key in found if key not in like]
    if missing or unknown:
        raise ValueError(
            f"`weights` should have the keys of torchvision's model, found {len(missing)} missing "
            f"({', '.join(missing[:2])}) and {len(unknown)} unknown ({', '.join(unknown[:2])})."
        )
    wrong = [key for key, value in found.items() if value.shape != like[key].shape]
    if wrong:
        raise ValueError(
            f"`weights` should have shape {tuple(like[wrong[0]].shape)} at '{wrong[0]}', found "
            f"{tuple(found[wrong[0]].shape)}."
        )
    return {**{key: like[key] for key in counters}, **found}
