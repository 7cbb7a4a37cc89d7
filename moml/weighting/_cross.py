"""Products of two independent batches' gradients, for methods whose weights follow them."""

from __future__ import annotations

from torch import Tensor

from moml.errors import NonFiniteError
from moml.gradients.task_gradients import Evaluation


def finite_products(first: Evaluation, second: Evaluation) -> Tensor:
    """Inner products of the gradients of two batches, float64, ``(m, m')``.

    Raises:
        NonFiniteError: If a gradient is not finite; names its task.
    """
    products = first.cross(second)
    finite = products.isfinite()
    if finite.all():
        return products
    bad = [first.names[i] for i in (~finite.any(1)).nonzero()[:, 0]]
    bad += [second.names[i] for i in (~finite.any(0)).nonzero()[:, 0]]
    raise NonFiniteError("gradient", list(dict.fromkeys(bad or first.names)))
