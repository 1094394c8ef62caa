"""Upright boxes in frame pixels: around points, in order, between two, and how far two overlap."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.records import Rect


def box_of(points: npt.NDArray[np.floating[Any]]) -> Rect:
    """The box around points (N, 2), x first."""
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    return Rect(left, top, right, bottom)


def sides(rect: Rect) -> tuple[float, float, float, float]:
    """Left, top, right, bottom, in order also where a file holds them the wrong way round."""
    left, right = sorted((rect.left, rect.right))
    top, bottom = sorted((rect.top, rect.bottom))
    return left, top, right, bottom


def shared_area(one: Rect, other: Rect) -> float:
    """The area that lies in both, in px²."""
    a, b = sides(one), sides(other)
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height)


def overlap(one: Rect, other: Rect) -> float:
    """Intersection over union, 0..1."""
    common = shared_area(one, other)
    return common / max(1e-9, abs(one.area) + abs(other.area) - common)


def between(one: Rect, other: Rect, part: float) -> Rect:
    """The box `part` (0..1) of the way from one to the other."""
    ends = zip(sides(one), sides(other), strict=True)
    return Rect(*(start + (end - start) * part for start, end in ends))
