"""Multinomial logistic regression on frozen features, the classifier of linear probes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

PENALTIES = (1.0, 0.1, 0.01, 1e-3, 1e-4, 1e-5)
"""Weights of the squared norm that are tried, the strongest first; see :func:`fit`."""

_ITERATIONS = 200
_LEAST_SPREAD = 1e-8


@dataclass(frozen=True)
class LinearClassifier:
    """Scores of C classes: ``(features - mean) / spread @ weights + bias``.

    Attributes:
        mean: float64 (D,), of the features that it was fitted on.
        spread: float64 (D,), their standard deviations.
        weights: float64 (D, C).
        bias: float64 (C,).
    """

    mean: np.ndarray
    spread: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Float (n, D) -> float64 (n, C)."""
        scores: np.ndarray = (features - self.mean) / self.spread @ self.weights + self.bias
        return scores


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    penalty: float,
    start: LinearClassifier | None = None,
) -> LinearClassifier:
    """Minimize the mean cross entropy + ``penalty`` / 2 times the squared norm of the weights.

    By L-BFGS of torch in float64, on features of mean 0 and variance 1. The problem is convex, so
    the result depends on the data alone, up to the tolerance.

    Args:
        features: float (n, D), finite.
        labels: int (n,), 0 to ``classes`` - 1.
        classes: C.
        penalty: above 0.
        start: a solution of a neighboring penalty on the same features, to start from.
    """
    mean = features.mean(axis=0, dtype=np.float64)
    spread = np.maximum(features.std(axis=0, dtype=np.float64), _LEAST_SPREAD)
    rows = torch.from_numpy((features - mean) / spread)
    wanted = torch.from_numpy(labels.astype(np.int64))
    if start is None:
        weights = torch.zeros(rows.shape[1], classes, dtype=torch.float64)
        bias = torch.zeros(classes, dtype=torch.float64)
    else:
        weights, bias = torch.from_numpy(start.weights.copy()), torch.from_numpy(start.bias.copy())
    parameters = [weights.requires_grad_(), bias.requires_grad_()]
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=_ITERATIONS,
        tolerance_grad=1e-7,
        tolerance_change=1e-10,
        line_search_fn="strong_wolfe",
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(rows @ weights + bias, wanted)
        loss = loss + penalty / 2 * weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return LinearClassifier(mean, spread, weights.detach().numpy(), bias.detach().numpy())


def choose_penalty(
    features: np.ndarray,
    labels: np.ndarray,
    classes: int,
    validation: tuple[np.ndarray, np.ndarray],
    penalties: Sequence[float] = PENALTIES,
) -> float:
    """The penalty with the most right answers on a validation set; of equal ones the strongest.

    Args:
        features: float (n, D), to fit on.
        labels: int (n,).
        classes: C.
        validation: features (m, D) and labels (m,).
        penalties: to try, the strongest first.
    """
    best, chosen, classifier = -1.0, penalties[0], None
    for penalty in penalties:
        classifier = fit(features, labels, classes, penalty, classifier)
        right = (classifier.scores(validation[0]).argmax(axis=1) == validation[1]).mean()
        if right > best:
            best, chosen = float(right), penalty
    return chosen
