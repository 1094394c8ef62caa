"""Drawing a posed portrait: triangles by depth, one coordinate map per frame, one resampling."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from understudy.demo.rig import INNER_CORNERS, INNER_LIP_LOWER, INNER_LIP_UPPER, Floats, Posed, Rig

Picture = NDArray[np.uint8]

_SUBPIXEL_BITS = 4
_THINNEST_PX = 0.3
"""Thinner triangles are left to their neighbours: extrapolated over half a pixel they would reach far away."""


@dataclass(frozen=True)
class Camera:
    """frame = canvas * zoom + offset, in px."""

    zoom: float
    offset: tuple[float, float]

    def frame_from_canvas(self, points: Floats) -> Floats:
        return np.asarray(points * self.zoom + np.array(self.offset), np.float64)


class Stage:
    """One portrait ready to be drawn: the canvas with the mouth's inside painted below it, and the rig."""

    def __init__(self, canvas: Picture, rig: Rig, *, has_teeth: bool) -> None:
        self.rig = rig
        self.height = canvas.shape[0]
        self.atlas = np.concatenate([canvas, _mouth_inside(canvas, rig, has_teeth)])
        self._triangles = np.concatenate([rig.outer_triangles, rig.mouth_triangles, rig.face_triangles])
        first_mouth = len(rig.outer_triangles)
        self._mouth = slice(first_mouth, first_mouth + len(rig.mouth_triangles))

    def draw(self, posed: Posed, camera: Camera, width: int, height: int, tint: Floats) -> Picture:
        """One frame (height, width, 3) uint8 RGB. tint: (3,) gain of the whole picture per channel."""
        corners = camera.frame_from_canvas(posed.points)[self._triangles]
        labels = self._labels(corners, posed.depth, width, height)
        coefficients = self._coefficients(corners, posed, camera)
        x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        map_x, map_y, gain = (_plane(coefficients[k], labels, x, y) for k in range(3))
        picture = cv2.remap(self.atlas, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        lit = picture * (gain[..., None] * tint.astype(np.float32))
        return np.asarray(np.clip(lit + 0.5, 0, 255), np.uint8)

    def _labels(self, corners: Floats, depth: Floats, width: int, height: int) -> NDArray[np.int32]:
        """(H,W) 1 + index of the nearest triangle at each pixel; 0 where there is none."""
        far = depth[self._triangles].mean(1)
        far[self._mouth] += 1e3
        far[: self._mouth.start] += 2e3
        labels = np.zeros((height, width), np.int32)
        fixed = np.rint(corners * (1 << _SUBPIXEL_BITS)).astype(np.int32)
        order = np.argsort(-far)
        for index in order[_thickness(corners)[order] > _THINNEST_PX]:
            cv2.fillConvexPoly(labels, fixed[index], int(index) + 1, cv2.LINE_8, _SUBPIXEL_BITS)
        return labels

    def _coefficients(self, corners: Floats, posed: Posed, camera: Camera) -> NDArray[np.float32]:
        """(3, T+1, 3): for atlas x, atlas y and gain the affine function of frame (x, y, 1) in each triangle."""
        rest = self.rig.rest[self._triangles][..., :2].copy()
        rest[self._mouth] = posed.inner[self._triangles[self._mouth]] + [0, self.height]
        values = np.concatenate([rest, posed.gain[self._triangles][..., None]], axis=2)  # (T, 3 corners, 3 values)
        frame = np.concatenate([corners, np.ones((*corners.shape[:2], 1))], axis=2)
        frame[_thickness(corners) <= _THINNEST_PX] = np.eye(3)  # never drawn
        solved = np.linalg.solve(frame, values)  # (T, 3 of (x, y, 1), 3 values)
        zoom, (dx, dy) = camera.zoom, camera.offset
        still = np.array([[1 / zoom, 0, 0], [0, 1 / zoom, 0], [-dx / zoom, -dy / zoom, 1]])
        return np.concatenate([still[None], solved]).transpose(2, 0, 1).astype(np.float32)


def _plane(
    coefficients: NDArray[np.float32], labels: NDArray[np.int32], x: NDArray[np.float32], y: NDArray[np.float32]
) -> NDArray[np.float32]:
    a, b, c = (np.take(coefficients[:, k], labels) for k in range(3))
    return np.asarray(a * x + b * y + c, np.float32)


def _thickness(corners: Floats) -> Floats:
    """(T,) least height of each triangle, px."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    twice_area = np.abs((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(1)
    return np.asarray(twice_area / (longest + 1e-9), np.float64)


def _mouth_inside(canvas: Picture, rig: Rig, has_teeth: bool) -> Picture:
    """What shows between open lips, in canvas coordinates: a dark cavity with the upper teeth.

    has_teeth: the portrait smiles, so its own teeth are kept where it shows them.
    """
    height, width = canvas.shape[:2]
    inside = np.empty((height, width, 3), np.float32)
    inside[:] = (70, 26, 26)
    upper = rig.mesh[[INNER_CORNERS[0], *INNER_LIP_UPPER, INNER_CORNERS[1]], :2]
    lower = rig.mesh[[INNER_CORNERS[0], *INNER_LIP_LOWER, INNER_CORNERS[1]], :2]
    if has_teeth:
        ring = np.rint(np.concatenate([upper, lower[::-1]])).astype(np.int32)
        filled = cv2.fillPoly(np.zeros((height, width), np.float32), [ring], 1.0)
        eroded = cv2.erode(filled, np.ones((3, 3), np.uint8))
        mask = np.asarray(cv2.GaussianBlur(eroded, (0, 0), 1.2), np.float32)
        teeth: NDArray[np.float32] = canvas.astype(np.float32)
    else:
        mask, teeth = _painted_teeth(upper, width, height, rig.eye_distance)
    inside += mask[..., None] * (teeth - inside)
    return np.asarray(np.clip(inside + 0.5, 0, 255), np.uint8)


def _painted_teeth(
    lip: Floats, width: int, height: int, unit: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A row of upper teeth hanging from the upper lip: mask (H,W) 0..1 and colour (H,W,3)."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    left, right = float(lip[0, 0]), float(lip[-1, 0])
    line = np.interp(x[0], lip[:, 0], lip[:, 1]).astype(np.float32)
    across = (x - (left + right) / 2) / ((right - left) / 2)
    below = (y - line[None]) / unit
    edge = 0.095 * np.sqrt(np.clip(1 - (across / 0.85) ** 2, 0, 1))
    mask = np.clip((edge - below) * unit / 2.5, 0, 1) * (np.abs(across) < 0.85)
    gaps = 1 - 0.12 * np.exp(-((np.abs((across * 4.2) % 1.0 - 0.5) / 0.07) ** 2))
    shade = (1 - 0.4 * across**2) * gaps
    colour = np.array((212, 196, 168), np.float32) * shade[..., None]
    return mask.astype(np.float32), colour.astype(np.float32)
