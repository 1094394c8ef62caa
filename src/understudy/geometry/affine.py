"""2x3 affine matrices over (x, y) points: apply, invert, compose, solve.

A matrix maps `x' = m00*x + m01*y + m02`, `y' = m10*x + m11*y + m12`. Pixel centres lie at integer coordinates, x to
the right and y down. A transform is named to-from, such as `frame_from_face`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]
"""A (2, 3) float64 matrix."""

Points = npt.NDArray[np.float64]
"""(N, 2) float64 points, (x, y)."""


def apply(matrix: npt.ArrayLike, points: npt.ArrayLike) -> Points:
    """Map points (…, 2) by a 2x3 matrix, in float64. The result has the shape of `points`."""
    m, p = np.asarray(matrix, np.float64), np.asarray(points, np.float64)
    return np.asarray(p @ m[:, :2].T + m[:, 2])


def invert(matrix: npt.ArrayLike) -> Affine:
    """The 2x3 matrix that maps back. Raises numpy.linalg.LinAlgError for a matrix that flattens the plane."""
    m = np.asarray(matrix, np.float64)
    linear = np.linalg.inv(m[:, :2])
    return np.column_stack([linear, -linear @ m[:, 2]])


def compose(a: npt.ArrayLike, b: npt.ArrayLike) -> Affine:
    """The 2x3 matrix that applies `b` first and `a` after it: `a @ b`."""
    outer, inner = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def scaling(factor: float) -> Affine:
    """The 2x3 matrix that multiplies both coordinates by `factor`."""
    return np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]])


def from_three_points(source: npt.ArrayLike, target: npt.ArrayLike) -> Affine:
    """The 2x3 matrix that takes three points (3, 2) to three others.

    Raises numpy.linalg.LinAlgError when the source points lie on one line.
    """
    homogeneous = np.column_stack([np.asarray(source, np.float64), np.ones(3)])
    return np.asarray(np.linalg.solve(homogeneous, np.asarray(target, np.float64)).T)


def perturb(
    matrix: npt.ArrayLike,
    size: int,
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    degrees: float = 0.0,
    scale: float = 1.0,
) -> Affine:
    """Move, turn and zoom the square that a crop matrix cuts out of the image.

    matrix: image → size x size crop. shift: in units of the square's own width and height, along the image's axes.
    degrees: turn of the square about its centre, in image pixel axes. scale: of the square's half diagonal, so that
    values above 1 show more of the image.
    """
    top_left, top_right, bottom_left, centre = apply(
        invert(matrix), [(0, 0), (size, 0), (0, size), (size / 2, size / 2)]
    )
    width, height = np.linalg.norm(top_right - top_left), np.linalg.norm(bottom_left - top_left)
    reach = np.linalg.norm(top_right - centre)
    along = (top_right - centre) / reach
    across = np.array([-along[1], along[0]])
    corners = centre + reach * scale * np.array([-across, along, -along]) + np.array(shift) * (width, height)
    turned = apply(rotation_about(centre, degrees), corners)
    return from_three_points(turned, [(0, 0), (size, 0), (0, size)])


def rotation_about(centre: npt.ArrayLike, degrees: float) -> Affine:
    """The 2x3 matrix that turns points about `centre`: `x' = cos dx - sin dy`, `y' = sin dx + cos dy`."""
    angle, middle = np.deg2rad(degrees), np.asarray(centre, np.float64)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return np.column_stack([turn, middle - turn @ middle])


def as_points(value: Any) -> Points:
    """`value` as a float64 (N, 2) array, copied only when it is not one already."""
    return np.asarray(value, np.float64).reshape(-1, 2)
