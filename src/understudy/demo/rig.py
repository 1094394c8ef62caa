"""A portrait as a puppet: FaceMesh vertices that turn, speak and blink, with the head and hair moving along.

    portrait, mesh (468,3)  →  Rig  →  pose(Gesture)  →  Posed: where every vertex is, how deep, how lit

All lengths are canvas pixels (the portrait enlarged to the size of the footage); x right, y down, z away from the
camera, as FaceMesh gives them. The oval of the face is surrounded by rings of extra vertices that follow the head less
and less, so that hair, ears and neck move plausibly and the far background stays where it is.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip
INNER_LIP_UPPER = (191, 80, 81, 82, 13, 312, 311, 310, 415)
INNER_LIP_LOWER = (95, 88, 178, 87, 14, 317, 402, 318, 324)
INNER_CORNERS = (78, 308)
LIPS_UPPER = (
    185, 40, 39, 37, 0, 267, 269, 270, 409, 184, 74, 73, 72, 11, 302, 303, 304, 408,
    183, 42, 41, 38, 12, 268, 271, 272, 407, *INNER_LIP_UPPER,
)  # fmt: skip
LIPS_LOWER = (
    146, 91, 181, 84, 17, 314, 405, 321, 375, 77, 90, 180, 85, 16, 315, 404, 320, 307,
    96, 89, 179, 86, 15, 316, 403, 319, 325, *INNER_LIP_LOWER,
)  # fmt: skip
LIP_CORNERS = (61, 76, 62, 78, 291, 306, 292, 308)
EYES = (
    ((246, 161, 160, 159, 158, 157, 173), (7, 163, 144, 145, 153, 154, 155), (33, 133)),
    ((466, 388, 387, 386, 385, 384, 398), (249, 390, 373, 374, 380, 381, 382), (263, 362)),
)
"""Upper lid, lower lid and corners of each eye; the lids are paired by position."""

RING_RADII = (1.06, 1.14, 1.25, 1.4, 1.6, 1.85, 2.2, 2.7)
"""Rings of extra vertices, as multiples of the oval seen from its centre."""

PERSPECTIVE = 5.0
"""Distance of the camera in face widths."""


@dataclass(frozen=True)
class Gesture:
    """What the face does in one frame. Angles in radians, signs as in the pose of a face (yaw > 0: nose to the left).

    mouth: gap between the inner lips in eye distances. blink: 0 open … 1 shut. light: where the lamp stands, -1 left …
    1 right. shift: movement of the head in face widths.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    mouth: float = 0.0
    blink: float = 0.0
    light: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Posed:
    """Vertices of one frame. points (V,2) canvas px; depth (V,); gain (V,) light; inner (V,2) unturned positions."""

    points: Floats
    depth: Floats
    gain: Floats
    inner: Floats


class Rig:
    """The vertices, triangles and weights of one portrait. mesh: (468,3) canvas px."""

    def __init__(self, mesh: Floats) -> None:
        self.mesh = _flatten_sides(np.asarray(mesh, np.float64))
        oval = self.mesh[list(FACE_OVAL)]
        self.centre = np.array([*oval[:, :2].mean(0), oval[:, 2].mean()])
        self.width = float(np.ptp(oval[:, 0]))
        rings = [self._ring(oval, radius) for radius in RING_RADII]
        self.rest = np.concatenate([self.mesh, *rings])
        self.follow = np.concatenate([np.ones(len(self.mesh)), *[self._follow(ring) for ring in rings]])

    @property
    def eye_distance(self) -> float:
        """Distance between the middles of the eyes, the unit of mouth opening."""
        left, right = (self.mesh[[*eye[2]], :2].mean(0) for eye in EYES)
        return float(np.linalg.norm(left - right))

    @cached_property
    def rest_opening(self) -> float:
        """Gap between the inner lips in the portrait itself, in eye distances."""
        return float(self.mesh[14, 1] - self.mesh[13, 1]) / self.eye_distance

    @cached_property
    def face_triangles(self) -> Ints:
        """(T,3) triangles of the face and the first ring around it, without the mouth's inside."""
        flat = self._spread_flat()
        triangles = np.asarray(Delaunay(flat).simplices, np.int64)
        lips = flat[[INNER_CORNERS[0], *INNER_LIP_UPPER, INNER_CORNERS[1], *INNER_LIP_LOWER[::-1]]].astype(np.float32)
        middles = flat[triangles].mean(1).astype(np.float32)
        inside = np.array([cv2.pointPolygonTest(lips, (float(x), float(y)), False) >= 0 for x, y in middles])
        return np.asarray(triangles[~inside], np.int64)

    @cached_property
    def mouth_triangles(self) -> Ints:
        """(T,3) triangles between the lips."""
        upper = (INNER_CORNERS[0], *INNER_LIP_UPPER, INNER_CORNERS[1])
        lower = (INNER_CORNERS[0], *INNER_LIP_LOWER, INNER_CORNERS[1])
        return _strip([np.array(upper), np.array(lower)], closed=False)

    @cached_property
    def outer_triangles(self) -> Ints:
        """(T,3) triangles between neighbouring rings."""
        count = len(FACE_OVAL)
        return _strip([468 + count * ring + np.arange(count) for ring in range(len(RING_RADII))], closed=True)

    def pose(self, gesture: Gesture) -> Posed:
        """Every vertex after speaking, blinking and turning."""
        shaped = self._speak(self.rest, gesture.mouth)
        shaped = self._blink(shaped, gesture.blink)
        turned = self._turn(shaped, gesture)
        sway = np.array(gesture.shift) * self.width * self.follow[:, None]
        return Posed(turned[:, :2] + sway, turned[:, 2], self._light(turned, gesture.light), shaped[:, :2])

    # --- topology -----------------------------------------------------------------------------------------------------

    def _spread_flat(self) -> Floats:
        """(504,2) face and first ring laid flat, mouth wide open and lips thick: no triangle can cross a lip."""
        flat = self._speak(self.rest, 0.7)[: 468 + len(FACE_OVAL), :2].copy()
        step = 0.025 * self.width
        for row in range(4):
            upper, lower = LIPS_UPPER[9 * row : 9 * row + 9], LIPS_LOWER[9 * row : 9 * row + 9]
            flat[[*upper], 1] = flat[[*LIPS_UPPER[:9]], 1] + row * step
            flat[[*lower], 1] = flat[[*LIPS_LOWER[:9]], 1] - row * step
            flat[LIP_CORNERS[row], 0] = flat[61, 0] + row * step
            flat[LIP_CORNERS[row + 4], 0] = flat[291, 0] - row * step
        return flat

    def _ring(self, oval: Floats, radius: float) -> Floats:
        """The oval grown about its centre; each step out lies a little deeper, as a skull does."""
        points: Floats = self.centre + (oval - self.centre) * [radius, radius, 1.0]
        points[:, 2] += 0.35 * self.width * (radius - 1.0)
        return points

    def _follow(self, points: Floats) -> Floats:
        """How much vertices turn with the head: 1 near the face, 0 far away, less below the chin."""
        away = (points[:, :2] - self.centre[:2]) / self.width
        upward = np.where(away[:, 1] < 0, 0.75, 1.25)
        distance = np.hypot(away[:, 0], away[:, 1] * upward)
        return 1.0 - _smoothstep((distance - 0.6) / 0.7)

    # --- expression ---------------------------------------------------------------------------------------------------

    @cached_property
    def _jaw(self) -> Floats:
        """(V,) how far each vertex goes down with the jaw: lower lip and chin 1, upper lip slightly up, rest smooth."""
        mouth_y = float(self.mesh[[*INNER_CORNERS], 1].mean())
        chin_y = float(self.mesh[152, 1])
        half_mouth = 0.5 * float(np.ptp(self.mesh[[61, 291], 0]))
        below = (self.rest[:, 1] - mouth_y) / (chin_y - mouth_y)
        aside = np.abs(self.rest[:, 0] - self.mesh[[61, 291], 0].mean()) / half_mouth
        weight = _smoothstep(below / 0.55 + 0.05) * (1.0 - _smoothstep((aside - 0.9) / 2.0))
        weight *= 1.0 - _smoothstep((below - 1.0) / 1.1)  # the neck stays
        arch = 1.0 - np.clip(aside, 0, 1) ** 2
        for index in LIPS_LOWER:
            weight[index] = 0.25 + 0.75 * arch[index]
        for index in LIPS_UPPER:
            weight[index] = -0.12 * arch[index]
        for index in LIP_CORNERS:
            weight[index] = 0.2
        return weight

    def _speak(self, points: Floats, mouth: float) -> Floats:
        middle = self._jaw[14] - self._jaw[13]
        drop = (mouth - self.rest_opening) * self.eye_distance / middle
        moved = points.copy()
        moved[:, 1] += drop * self._jaw
        moved[:, 2] += 0.25 * drop * np.clip(self._jaw, 0, None)
        return moved

    def _blink(self, points: Floats, blink: float) -> Floats:
        if blink <= 0:
            return points
        moved = points.copy()
        for upper, lower, _corners in EYES:
            upper_at, lower_at = points[list(upper)], points[list(lower)]
            down = (lower_at - upper_at) * 0.92 * blink
            reach = 0.35 * float(np.ptp(upper_at[:, 0]))
            nearest = np.abs(points[:468, None, 0] - upper_at[None, :, 0]).argmin(1)
            above = upper_at[nearest, 1] - points[:468, 1]
            aside = np.abs(points[:468, 0] - upper_at[nearest, 0])
            weight = np.exp(-((above / reach) ** 2) - (aside / (0.3 * reach)) ** 2) * (above > 0)
            weight[[*upper]] = 1.0
            weight[[*lower]] = 0.0
            moved[:468] += weight[:, None] * down[nearest]
        return moved

    # --- pose and light -----------------------------------------------------------------------------------------------

    def _turn(self, points: Floats, gesture: Gesture) -> Floats:
        local = points - self.centre
        turned = local @ rotation(gesture.yaw, gesture.pitch, gesture.roll).T
        distance = PERSPECTIVE * self.width
        turned[:, :2] *= (distance / (distance + turned[:, 2] - local[:, 2]))[:, None]
        return np.asarray(points + self.follow[:, None] * (turned - local), np.float64)

    @cached_property
    def _lit(self) -> Floats:
        """(V,) how much the lamp reaches each vertex: the face, and less of the hair with each ring."""
        radii = np.repeat([1.0, *RING_RADII], [468, *[len(FACE_OVAL)] * len(RING_RADII)])
        return 1.0 - _smoothstep((radii - 1.0) / 0.16)

    def _light(self, turned: Floats, light: float) -> Floats:
        """(V,) gain of each vertex under a lamp from the side; far vertices keep 1."""
        corners = turned[self.face_triangles]
        facing = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        facing *= np.where(facing[:, 2:] > 0, -1.0, 1.0)  # towards the camera
        normals = np.zeros_like(turned)
        for corner in range(3):
            np.add.at(normals, self.face_triangles[:, corner], facing)
        normals[468:] = np.tile(normals[list(FACE_OVAL)], (len(RING_RADII), 1))
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
        return np.asarray(1.0 + 0.24 * light * normals[:, 0] * self._lit, np.float64)


def _flatten_sides(mesh: Floats) -> Floats:
    """Reduce the depth beyond the cheeks: a frontal picture has few pixels there that could be turned to the front."""
    shaped = mesh.copy()
    reach = 0.5 * float(np.ptp(mesh[:, 0]))
    beyond = np.clip(shaped[:, 2] - np.median(shaped[:, 2]), 0, None)
    shaped[:, 2] -= beyond - reach * np.tanh(beyond / reach)
    return shaped


def _strip(rings: list[Ints], *, closed: bool) -> Ints:
    """(T,3) triangles between each ring of vertices and the next one of the same length."""
    triangles = []
    for inner, outer in itertools.pairwise(rings):
        for k in range(len(inner) if closed else len(inner) - 1):
            after = (k + 1) % len(inner)
            triangles += [(inner[k], inner[after], outer[k]), (inner[after], outer[after], outer[k])]
    return np.array([corner for corner in triangles if len(set(map(int, corner))) == 3], np.int64)


def rotation(yaw: float, pitch: float, roll: float) -> Floats:
    """(3,3) rotation of camera-space points; z points away from the camera, so the nose has negative z."""
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    tilt = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(tilt @ nod @ turn)


def _smoothstep(x: Floats) -> Floats:
    t = np.clip(x, 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.float64)
