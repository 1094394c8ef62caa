"""Confidence: how often landmarks are right that are found with so much confidence, on drawn shots that were spoilt.

Two performers turn and speak; their frames are made small, blurred, noisy, dark, turned, covered and cut off. Right
means within a tenth of the distance of the eyes' outer corners. `fit` is the curve that these faces give;
`detection.confidence.CURVES` holds the one in use.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.demo.footage import Performer, draw_shot
from understudy.detection import load_engine
from understudy.detection.confidence import CURVES, RIGHT, confidence_of

ENGINE = "mediapipe"
BINS = (0.0, 0.2, 0.4, 0.6, 0.8, 0.9, 0.97, 1.0001)
SIZE = (640, 480)

Image8 = NDArray[np.uint8]
Points = NDArray[np.float64]
Spoilt = tuple[Image8, Points]


def run(quick: bool = False) -> dict[str, Any]:
    """Faces, shares that are right by confidence, and the curve that fits them."""
    scores, errors, missed = _measure(every=40 if quick else 13)
    right = errors < RIGHT
    sure = np.array([confidence_of(score, ENGINE) for score in scores])
    table = {}
    for low, high in pairwise(BINS):
        inside = (sure >= low) & (sure < high)
        if inside.any():
            shares = {"said": round(float(sure[inside].mean()), 2), "right": round(float(right[inside].mean()), 2)}
            table[f"{low:.2f} to {min(high, 1):.2f}"] = {"faces": int(inside.sum()), **shares}
    middle, slope = _fit(scores, right)
    return {
        "faces": len(scores),
        "not_found": missed,
        "by_confidence": table,
        "fit": {"middle": round(middle, 3), "slope": round(slope, 1)},
        "in_use": dict(zip(("middle", "slope"), CURVES[ENGINE], strict=True)),
    }


def _measure(*, every: int) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    engine, scores, errors, missed = load_engine(ENGINE), [], [], 0
    random = np.random.default_rng(0)
    for performer in Performer:
        shot = draw_shot(performer, frames=160, fps=10, size=SIZE, seed=3)
        for index in range(0, len(shot), every):
            for picture, truth in _spoilt(shot.frame(index), shot.truth.landmarks[index], random):
                found = engine.find(np.ascontiguousarray(picture), max_faces=1)
                missed += not found
                scores += [face.confidence for face in found]
                eyes = np.linalg.norm(truth[36] - truth[45])
                errors += [np.linalg.norm(face.landmarks - truth, axis=1).mean() / eyes for face in found]
    return np.array(scores), np.array(errors), missed


def _spoilt(picture: Image8, truth: Points, random: np.random.Generator) -> Iterator[Spoilt]:
    yield picture, truth
    ways: tuple[tuple[Callable[..., Spoilt], tuple[float, ...]], ...] = (
        (_smaller, (0.5, 0.3, 0.2, 0.14, 0.1, 0.08)),
        (_blurred, (2, 5, 9, 14)),
        (_noisy, (20, 50, 90)),
        (_dark, (0.3, 0.1, 0.04)),
        (_packed, (12, 4)),
        (_covered, (0.2, 0.3, 0.45, 0.6) * 2),
        (_turned, (30, 60, 110, 180)),
        (_cut_off, (-0.4, -0.2, 0, 0.2)),
    )
    for spoil, amounts in ways:
        for amount in amounts:
            yield spoil(picture, truth, amount, random)


def _smaller(picture: Image8, truth: Points, factor: float, random: np.random.Generator) -> Spoilt:
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), truth * factor + (factor - 1) / 2


def _blurred(picture: Image8, truth: Points, sigma: float, random: np.random.Generator) -> Spoilt:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8), truth


def _noisy(picture: Image8, truth: Points, sigma: float, random: np.random.Generator) -> Spoilt:
    return np.clip(picture + random.normal(0, sigma, picture.shape), 0, 255).astype(np.uint8), truth


def _dark(picture: Image8, truth: Points, factor: float, random: np.random.Generator) -> Spoilt:
    return (picture * factor).astype(np.uint8), truth


def _packed(picture: Image8, truth: Points, quality: float, random: np.random.Generator) -> Spoilt:
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8), truth


def _covered(picture: Image8, truth: Points, part: float, random: np.random.Generator) -> Spoilt:
    """An ellipse the colour of skin somewhere on the face."""
    height, angle = float(np.ptp(truth[:, 1])), random.uniform(0, 2 * np.pi)
    centre = truth.mean(axis=0) + np.array([np.cos(angle), np.sin(angle)]) * height * random.uniform(0.1, 0.6)
    axes = (int(part * height), int(0.6 * part * height))
    where = (int(centre[0]), int(centre[1]))
    drawn = cv2.ellipse(picture.copy(), where, axes, float(np.degrees(angle)), 0, 360, (120, 90, 70), -1)
    return np.asarray(drawn, np.uint8), truth


def _turned(picture: Image8, truth: Points, degrees: float, random: np.random.Generator) -> Spoilt:
    matrix = cv2.getRotationMatrix2D((SIZE[0] / 2, SIZE[1] / 2), degrees, 0.8)
    return np.asarray(cv2.warpAffine(picture, matrix, SIZE), np.uint8), truth @ matrix[:, :2].T + matrix[:, 2]


def _cut_off(picture: Image8, truth: Points, part: float, random: np.random.Generator) -> Spoilt:
    """Without what is left of the face's middle, or of so much of its width beyond it."""
    edge = int(truth[:, 0].mean() + part * np.ptp(truth[:, 0]))
    return picture[:, edge:], truth - (edge, 0)


def _fit(scores: NDArray[np.float64], right: NDArray[np.bool_]) -> tuple[float, float]:
    """Middle and slope of the logistic curve of greatest likelihood, by Newton's method."""
    columns, weights = np.column_stack([np.ones(len(scores)), scores]), np.zeros(2)
    for _ in range(50):
        chance = 1 / (1 + np.exp(-columns @ weights))
        curvature = columns.T @ (columns * (chance * (1 - chance))[:, None])
        weights = weights + np.linalg.solve(curvature, columns.T @ (right - chance))
    return float(-weights[0] / weights[1]), float(weights[1])
