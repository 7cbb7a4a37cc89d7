"""Errors of autograd that a network's owner can do something about, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

_KNOWN = {
    "donated buffer": (
        "A compiled network should keep its buffers for several backward passes, found one that "
        "gives them away. After `import torch._functorch.config`, set "
        "`torch._functorch.config.donated_buffer = False` before the first step."
    ),
    "does not currently support double backward": (
        "The network should have second derivatives here, found a compiled one, which has none. "
        "Use the network without `torch.compile`, or the hypergradient `FirstOrder`."
    ),
    "derivative for aten::_scaled_dot_product": (
        "The network should have second derivatives here, found fused attention, which has none. "
        "Run within `torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)`, or use "
        "the hypergradient `FirstOrder`."
    ),
    "is not implemented": (
        "The network should have second derivatives here, found an operation without. Use the "
        "hypergradient `FirstOrder`, or another operation."
    ),
}


@contextmanager
def explained() -> Iterator[None]:
    """Say what to do about an error of autograd, where that is known.

    Raises:
        ValueError: In place of the error; any other goes on as it is.
    """
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        for part, sentence in _KNOWN.items():
            if part in text and ("derivative for" in text or part != "is not implemented"):
                raise ValueError(f"{sentence} ({text.splitlines()[0]})") from error
        raise


@contextmanager
def fresh_graph() -> Iterator[None]:
    """Say what is wrong with losses whose graph was used up or changed before.

    Raises:
        ValueError: In place of the error; any other goes on as it is.
    """
    try:
        yield
    except RuntimeError as error:
        used = ("backward through the graph a second time", "that `moml.backward` has freed")
        if any(text in str(error) for text in used):
            raise ValueError(
                "`losses` should have a graph that nobody went through, found one that was freed "
                "by another backward pass. Call `moml.backward` in place of `loss.backward()`, or "
                "keep the graph there by `retain_graph=True`."
            ) from error
        if "modified by an inplace operation" in str(error):
            raise ValueError(
                "`losses` should be computed after the last change of what they depend on, found "
                "a tensor of their graph that was changed in place since. Compute them anew after "
                "every optimizer step."
            ) from error
        raise
