"""One sample's inputs in a run folder: a network is built again without its data."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

_NAME = "example.safetensors"


def write_example(folder: Path, example: Tensor | None) -> None:
    """Keep the example that layers were sized by, if there is one."""
    from safetensors.torch import save_file

    if example is not None:
        save_file({"input": example.detach().cpu().contiguous()}, str(folder / _NAME))


def read_example(folder: Path) -> Tensor | None:
    """The example that was kept; ``None`` if there was none."""
    from safetensors.torch import load_file

    file = folder / _NAME
    return load_file(str(file))["input"] if file.exists() else None
