"""Which of two people a face looks like: a small classifier of feature vectors, and how far to trust it.

    t = w · x + b   of logistic regression on training faces
    likeness = (t − t̄_dst) / (t̄_src − t̄_dst)      t̄: mean over faces of each person that it did not learn from

So 0 is as much like dst as dst's own unseen faces are, 1 as much like src as src's own; a swap may lie beyond either.
Probabilities would say 0.00 or 1.00 of almost every face and hide the way between.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Floats = NDArray[np.float64]

LEAST_ACCURACY = 0.8
"""Share of unseen faces of each person that must be told right; a coin gets 0.5."""

FEWEST = 4
"""Unseen faces of each person that are needed to say how far the classifier is to be trusted."""

PENALTY = 1.0


@dataclass(frozen=True, eq=False)
class TwoPeople:
    """The classifier. accuracy: mean of the shares of both people's unseen faces that it tells right, 0.5 to 1."""

    accuracy: float
    faces: int
    _centre: Floats
    _scale: Floats
    _weights: Floats
    _dst: float
    _src: float

    @property
    def trusted(self) -> bool:
        """Whether it tells the two people apart well enough to be asked."""
        return self.accuracy >= LEAST_ACCURACY and self.faces >= FEWEST and self._src - self._dst > 1e-6

    def likeness(self, features: Floats) -> Floats:
        """How much faces (N,D) look like src, (N,): 0 as dst, 1 as src; not clipped."""
        return (self._score(features) - self._dst) / max(self._src - self._dst, 1e-6)

    def _score(self, features: Floats) -> Floats:
        return np.asarray(_scores(features, self._centre, self._scale, self._weights), np.float64)


def learn(src: Floats, dst: Floats, unseen_src: Floats, unseen_dst: Floats, *, penalty: float = PENALTY) -> TwoPeople:
    """Learn to tell two people apart from features (N,D) of faces of each, and judge it on others.

    unseen: faces of other moments; neighbours of those learned from would flatter it. penalty: of large weights
    (ridge), over the number of faces.
    """
    features = np.vstack([dst, src]).astype(np.float64)
    labels = np.repeat([-1.0, 1.0], [len(dst), len(src)])
    balance = np.repeat([0.5 / len(dst), 0.5 / len(src)], [len(dst), len(src)])
    centre, scale = features.mean(0), features.std() + 1e-9
    scaled = np.column_stack([(features - centre) / scale, np.ones(len(features))])
    strength = penalty / len(features)

    def loss(weights: Floats) -> tuple[float, Floats]:
        margin = labels * (scaled @ weights)
        value = float(balance @ np.logaddexp(0, -margin)) + strength / 2 * float(weights[:-1] @ weights[:-1])
        gradient = -(balance * labels / (1 + np.exp(np.clip(margin, -500, 500)))) @ scaled
        gradient[:-1] += strength * weights[:-1]
        return value, gradient

    found = minimize(loss, np.zeros(scaled.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    weights = np.asarray(found.x, np.float64)
    of_src = _scores(unseen_src, centre, scale, weights)
    of_dst = _scores(unseen_dst, centre, scale, weights)
    return TwoPeople(
        accuracy=(_share(of_src > 0) + _share(of_dst < 0)) / 2,
        faces=min(len(of_src), len(of_dst)),
        _centre=centre,
        _scale=np.asarray(scale),
        _weights=weights,
        _dst=float(of_dst.mean()) if len(of_dst) else 0.0,
        _src=float(of_src.mean()) if len(of_src) else 0.0,
    )


def _scores(features: Floats, centre: Floats, scale: Floats | float, weights: Floats) -> Floats:
    if not len(features):
        return np.empty(0)
    return np.asarray((np.asarray(features, np.float64) - centre) / scale @ weights[:-1] + weights[-1], np.float64)


def _share(true: NDArray[np.bool_]) -> float:
    return float(true.mean()) if len(true) else 0.5
