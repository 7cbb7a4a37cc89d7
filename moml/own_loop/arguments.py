"""Checks of what a loop of one's own hands over."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from torch import Tensor, nn

from moml._support import checks
from moml._support.nesting import fields_of
from moml.gradients.rows import Strategy
from moml.gradients.task_gradients import Heads
from moml.weighting import Weighting

_HEADS, _ROWS = get_args(Heads), get_args(Strategy)


def check_options(
    weighting: Any,
    *,
    heads: Any,
    rows: Any,
    scale: Any,
    representation: Any,
    retain_graph: Any,
    step: Any,
    epoch: Any,
    further: Any,
) -> None:
    """Verify the arguments that do not depend on the losses.

    Raises:
        ValueError: If one is none of its possible values.
    """
    if not isinstance(weighting, Weighting):
        found, hint = repr(weighting), "Pass an instance such as `moml.weighting.MGDA()`."
        if inspect.isclass(weighting):
            found = f"the class {weighting.__name__}"
            hint = f"Make an instance: `{weighting.__name__}()`."
        raise ValueError(f"`weighting` should be a Weighting, found {found}. {hint}")
    checks.choice("heads", heads, _HEADS)
    checks.choice("rows", rows, _ROWS)
    checks.flag("representation", representation)
    checks.flag("retain_graph", retain_graph)
    if step is not None:
        checks.whole("step", step, least=0)
    if epoch is not None:
        checks.whole("epoch", epoch, least=0)
    if further is not None:
        checks.function("further", further, "lambda i: losses_of(batches[i])")
    if isinstance(scale, bool) or not isinstance(scale, (int, float)) or not 0.0 < scale < math.inf:
        raise ValueError(
            f"`scale` should be a positive number, found {scale!r}. For n micro-batches a step, "
            "pass `scale=1 / n`."
        )


def by_name(losses: Any, weighting: Weighting, *, argument: str = "losses") -> dict[Any, Tensor]:
    """Losses by task name, in the order that they were given in.

    Raises:
        ValueError: If they are no scalars with a graph, or the weighting knows other tasks.
    """
    fields = fields_of(losses)
    if fields is not None:
        losses = fields
    named = dict(losses) if isinstance(losses, Mapping) else _numbered(losses, weighting, argument)
    for name, loss in named.items():
        if not isinstance(name, (str, int)) or isinstance(name, bool):
            raise ValueError(
                f"`{argument}` should name tasks by strings or integers, found {name!r}."
            )
        _check_loss(loss, name, argument)
    unknown = [name for name in named if weighting.names and name not in weighting.names]
    if unknown:
        raise ValueError(
            f"`{argument}` should name tasks among {list(weighting.names)}, which the weighting "
            f"was set up for, found {unknown}. Name every task before the first step: "
            "`weighting.setup([...])`."
        )
    if not named:
        raise ValueError(f"`{argument}` should hold the loss of at least one task, found none.")
    return named


def _numbered(losses: Any, weighting: Weighting, argument: str) -> dict[Any, Tensor]:
    """Losses in a fixed order, by the tasks' names or by number."""
    if not isinstance(losses, Sequence) or isinstance(losses, str):
        found = type(losses).__name__
        hint = "Pass `{'task': loss, ...}`, or a list in the same order in every step."
        if isinstance(losses, Tensor):
            found = f"one tensor of shape {tuple(losses.shape)}"
            hint = "Pass the losses themselves, not their sum: the weighting combines them."
        raise ValueError(
            f"`{argument}` should be a mapping from task to loss or a list, found {found}. {hint}"
        )
    names = weighting.names or tuple(str(i) for i in range(len(losses)))
    if len(names) != len(losses):
        raise ValueError(
            f"`{argument}` in a list should be the {len(names)} losses of {list(names)} in this "
            f"order, found {len(losses)}. Where tasks come and go, pass a mapping from task to "
            "loss, and name every task before the first step: `weighting.setup([...])`."
        )
    return dict(zip(names, losses, strict=True))


def _check_loss(loss: Any, name: Any, argument: str) -> None:
    if not isinstance(loss, Tensor):
        raise ValueError(
            f"`{argument}` should be tensors with a graph, found {type(loss).__name__} for task "
            f"{name!r}. Compute them by PyTorch from the network's outputs."
        )
    if loss.dim() != 0 or not loss.requires_grad or not loss.is_floating_point():
        kind = "" if loss.is_floating_point() else f"{loss.dtype}, "
        raise ValueError(
            f"`{argument}` should be real scalars with a graph, found {kind}shape "
            f"{tuple(loss.shape)}, requires_grad={loss.requires_grad} for task {name!r}. Reduce "
            "them, as by `.mean()`, and compute them with gradients."
        )


def check_finite(names: Sequence[Any], losses: Tensor) -> None:
    """Verify the values of losses ``(m,)``.

    Raises:
        ValueError: If one is NaN or infinite.
    """
    for name, loss in zip(names, losses.tolist(), strict=True):
        if not math.isfinite(loss):
            raise ValueError(f"`losses` should be finite, found {loss} for task {name!r}.")


def set_up(weighting: Weighting, names: Iterable[Any]) -> None:
    """Learn the tasks from the first losses, unless the method has parameters of its own.

    Raises:
        ValueError: If parameters would come about that no optimizer can have seen.
    """
    if weighting.names:
        return
    names = list(names)
    tried = copy.deepcopy(weighting).setup(names)
    known = {name for name, _ in weighting.named_parameters()}
    if any(name not in known for name, p in tried.named_parameters() if p.requires_grad):
        raise ValueError(
            f"{type(weighting).__name__} should be set up before the optimizer is built, found no "
            "tasks: no optimizer can have seen the parameters it learns. Call "
            f"`weighting.setup({names})` first, and give `weighting.parameters()` to the optimizer."
        )
    weighting.setup(names)


def leaves(tensors: Any, argument: str) -> list[Tensor] | None:
    """Leaf tensors that the user named, each once; ``None`` for none named.

    Raises:
        ValueError: If they are no leaf tensors, or shards of such.
    """
    if tensors is None:
        return None
    if isinstance(tensors, (nn.Module, Tensor, str)) or not isinstance(tensors, Iterable):
        found = type(tensors).__name__
        raise ValueError(
            f"`{argument}` should be a collection of parameters, found {found}. Pass "
            "`module.parameters()`."
        )
    found_list = list(tensors)
    for tensor in found_list:
        if not isinstance(tensor, Tensor) or not tensor.is_leaf:
            what = "one that was computed" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise ValueError(
                f"`{argument}` should be parameters, leaves of the graph, found {what}. Pass "
                "`module.parameters()`."
            )
        check_whole(tensor)
    if not found_list:
        raise ValueError(
            f"`{argument}` should hold at least one parameter, found none. A generator such as "
            "`module.parameters()` is empty once it was read: pass a list, made before the loop."
        )
    if argument == "inputs" and not any(tensor.requires_grad for tensor in found_list):
        raise ValueError(
            "`inputs` should hold a tensor that requires gradients, found none that does. Leave "
            "`inputs` out, or unfreeze what is to be trained."
        )
    return list(dict.fromkeys(found_list))


def check_whole(leaf: Tensor) -> None:
    """Verify that a parameter is whole in this process.

    Raises:
        ValueError: If it is a shard.
    """
    if hasattr(leaf, "device_mesh") or getattr(leaf, "_is_flat_param", False):
        raise ValueError(
            "Parameters should be whole in every process, found a sharded one (FSDP, DTensor). "
            "Train the plain module with `group=`; sharded parameters are not supported."
        )


def representation_of(features: Any, wanted: bool) -> list[Tensor]:
    """Tensors of the representation that need gradients, each once.

    Args:
        features: What the user gave.
        wanted: Gradients with respect to it are asked for.

    Raises:
        ValueError: If it is none.
    """
    if features is None and not wanted:
        return []
    if features is None:
        raise ValueError("`features` should be given for representation gradients, found none.")
    outputs = [features] if isinstance(features, Tensor) else features
    if isinstance(outputs, (str, Mapping)) or not isinstance(outputs, Iterable):
        raise ValueError(
            f"`features` should be a tensor or several, found {type(features).__name__}."
        )
    once: dict[Any, Tensor] = {}
    for output in outputs:
        if not isinstance(output, Tensor):
            raise ValueError(
                f"`features` should be tensors, found {type(output).__name__} among them."
            )
        if output.is_nested:
            raise ValueError(
                "`features` should be dense tensors, found a nested one. Leave `features` out: "
                "the gradient is the same."
            )
        if output.requires_grad:
            name = id(output) if output.grad_fn is None else (output.grad_fn, output.output_nr)
            once.setdefault(name, output)
    if wanted and not once:
        raise ValueError(
            "`features` should depend on a trainable parameter, found none that does. Unfreeze the "
            "encoder, or use `representation=False`."
        )
    return list(once.values())


def scale_of(scaler: Any, losses: Iterable[Tensor]) -> float:
    """The factor by which a gradient scaler multiplies losses.

    Raises:
        ValueError: If it is no scaler.
    """
    if scaler is None:
        return 1.0
    if isinstance(scaler, type) or not all(
        hasattr(scaler, name) for name in ("scale", "get_scale", "is_enabled")
    ):
        raise ValueError(
            f"`scaler` should be a `torch.amp.GradScaler`, found {checks.found(scaler)}."
        )
    if not scaler.is_enabled():
        return 1.0
    scaler.scale(next(iter(losses)).detach())  # a fresh one starts when it first scales
    return float(scaler.get_scale())
