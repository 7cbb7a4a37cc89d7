"""Adam with hypergradients that stay finite."""

from __future__ import annotations

from moml.bilevel.inner._adam import AdamRule


class InnerAdam(AdamRule):
    r"""Adam: first and second moments, bias-corrected, as `torch.optim.Adam`.

    Kingma & Ba, `Adam: A Method for Stochastic Optimization <https://arxiv.org/abs/1412.6980>`_,
    ICLR 2015. The square root has derivative zero at zero, so that coordinates whose gradient
    vanishes (a bias before a normalisation) do not turn hypergradients into NaN, as they do in
    other differentiable optimizers.

    Args:
        lr: Learning rate.
        steps: Number of steps.
        betas: Decay of the two moments.
        eps: Added to the root of the second moment.
        weight_decay: Multiple of the variables added to the gradient.
        project: Maps lower variables back to where they may lie, after each step.
        clip_norm: Largest norm of the lower loss's gradient.
    """
