r"""A small exact Gaussian process whose kernel is a mixture of fixed ones.

.. math:: k(x, x') = \sum_c w_c\, k_c(x, x') + w_0\, [x = x'] , \qquad
          \log p(y) = -\tfrac12 y^\top K^{-1} y - \tfrac12 \log\lvert K\rvert + \text{const}

The weights maximize the marginal likelihood times a wide log-normal prior, which keeps them sane
while there are five points only. Rasmussen, Williams, "Gaussian processes for machine learning",
2006, chapter 5.
"""

from __future__ import annotations

from copy import copy

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

TYPICAL, DEVIATION = 0.3, 1.5  # of the weights' prior: median, and deviation of the logarithm
NOISE = 0.1  # median of the noise's share of the variance
JITTER = 1e-6


class GaussianProcess:
    """Posterior of one objective.

    Args:
        kernels: Of the training points, ``(components, n, n)``.
        values: What was measured, ``(n,)``.
    """

    def __init__(self, kernels: np.ndarray, values: np.ndarray) -> None:
        self.mean = values.mean()
        self.scale = max(float(values.std()), 1e-9)
        self._y = (values - self.mean) / self.scale
        self._kernels = np.concatenate([np.eye(len(values))[None], kernels])
        self._typical = np.log([NOISE, *[TYPICAL] * len(kernels)])
        found = minimize(self._loss, self._typical, jac=True, method="L-BFGS-B")
        self.weights = np.exp(found.x)  # of the noise and the components
        self._factor = cho_factor(self._covariance(self.weights), lower=True)
        self._solved = cho_solve(self._factor, self._y)

    def predict(self, cross: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the objective without its noise.

        Args:
            cross: Kernels between new and training points, ``(components, m, n)``.
            own: Kernels of the new points with themselves, ``(components, m)``.
        """
        weights = self.weights[1:]
        between = np.tensordot(weights, cross, 1)  # (m, n)
        mean = between @ self._solved
        explained = (between * cho_solve(self._factor, between.T).T).sum(1)
        variance = np.maximum(weights @ own - explained, 1e-12)
        return self.mean + self.scale * mean, self.scale * np.sqrt(variance)

    def believing(self, kernels: np.ndarray) -> GaussianProcess:
        """The process once further points turned out as it predicts (the "Kriging believer").

        Predicted means stay as they are and deviations near these points shrink: Ginsbourger,
        Le Riche, Carraro, "Kriging is well-suited to parallelize optimization", 2010.

        Args:
            kernels: Of the training points and the further ones behind them,
                ``(components, n + p, n + p)``.
        """
        known = len(self._y)
        between = np.tensordot(self.weights[1:], kernels[:, known:, :known], 1)  # (p, n)
        other = copy(self)
        other._y = np.concatenate([self._y, between @ self._solved])
        other._kernels = np.concatenate([np.eye(len(other._y))[None], kernels])
        other._factor = cho_factor(other._covariance(self.weights), lower=True)
        other._solved = cho_solve(other._factor, other._y)
        return other

    def _covariance(self, weights: np.ndarray) -> np.ndarray:
        covariance: np.ndarray = np.tensordot(weights, self._kernels, 1)
        return covariance + JITTER * np.eye(len(covariance))

    def _loss(self, logs: np.ndarray) -> tuple[float, np.ndarray]:
        """Negative log posterior of the weights' logarithms, and its gradient."""
        weights = np.exp(logs)
        factor = cho_factor(self._covariance(weights), lower=True)
        solved = cho_solve(factor, self._y)
        inverse = cho_solve(factor, np.eye(len(self._y)))
        away = (logs - self._typical) / DEVIATION
        loss = 0.5 * self._y @ solved + np.log(np.diag(factor[0])).sum() + 0.5 * away @ away
        inner = inverse - np.outer(solved, solved)
        gradient = 0.5 * weights * np.einsum("cij,ij->c", self._kernels, inner)
        return float(loss), gradient + away / DEVIATION
