"""How a face looks, as a vector: to tell people apart without a face recognition network.

    face → frontal texture (96, 80) → edges, brightness, skin colour → minus the mean face → unit vector

The texture is laid out by the landmarks on the mean face looking ahead, so that a turned or speaking face fills the
same places as a resting one. Both halves are folded onto each other, each weighted by how much of it the camera sees.
What is left of pose, light and expression after that still moves the vector: two faces of one person half a turn apart
can differ more than two people seen alike. Groups should therefore be built along tracks (`curation.persons`).

    edges       histograms of gradient directions, 12 x 5 cells of 9 (Dalal and Triggs, "Histograms of oriented
                gradients for human detection", 2005), of the brightness evened out as by Tan and Triggs ("Enhanced
                local texture feature sets for face recognition under difficult lighting conditions", 2010)
    brightness  CIELAB lightness in 12 x 5 cells against their mean: beard, brows, lips, glasses
    colour      the mean a and b of the skin, in tens, bounded

The mean face that is taken away comes from the two public-domain portraits of the demo, moved, lit and turned
(scripts/make_mean_appearance.py): no collection of other people's faces is behind these numbers, and no network.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from importlib import resources
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.spatial import Delaunay

from understudy.errors import UnreadableFace
from understudy.facesets import Face
from understudy.geometry.affine import Points
from understudy.geometry.mean_face import MEAN_FACE

Vector = npt.NDArray[np.float32]
Picture8 = npt.NDArray[np.uint8]
Plane = npt.NDArray[np.float32]

WIDTH, HEIGHT = 80, 96
"""Size of the frontal texture: from the forehead to the chin, from cheek to cheek."""

CELL, DIRECTIONS = 8, 9
ROWS, COLUMNS = HEIGHT // CELL, WIDTH // CELL // 2
DIMENSIONS = ROWS * COLUMNS * DIRECTIONS + ROWS * COLUMNS + 2

_FOREHEAD = 0.62  # height above the brows that still counts, in distances between the eyes and the mouth
_FINEST = 1.0  # picture pixels per texture pixel; from twice as many on the picture is made smaller first
_HIDDEN, _SEEN = 0.1, 0.5  # share of the face's width from which a half counts a little, and fully
_COLOUR_WEIGHT, _COLOUR_BOUND = 0.3, 2.5
_LIGHTNESS_UNIT = 20.0


@dataclass(frozen=True, eq=False)
class Parts:
    """What a vector is made of, before the mean face is taken away. All are folded to the subject's right half.

    edges: (12, 5, 9) float32, square roots of gradient energy. lab: (12, 5, 3) float32, CIELAB with L in 0..100.
    quality: how well the face can be seen, 0 and up: detail times how evenly both halves show.
    """

    edges: Plane
    lab: Plane
    quality: float


def describe(face: Face) -> Vector:
    """How a face looks: a unit vector (602,) float32; the dot product of two says how alike they look, -1 to 1.

    Takes 2 to 3 ms at 512 px. Raises UnreadableFace for a face without 68 landmarks or with landmarks in one point.
    """
    return vector_of(parts_of(face))


def quality(face: Face) -> float:
    """How well a face can be seen, 0 and up: detail in its frontal texture, less for one half turned away.

    For choosing the face that shows a person best. Raises UnreadableFace as `describe` does.
    """
    return parts_of(face).quality


def vector_of(parts: Parts) -> Vector:
    """The unit vector (602,) of measured parts."""
    mean_edges, mean_lab = _mean_face()
    edges = _unit((parts.edges - mean_edges).ravel())
    away = (parts.lab - mean_lab).reshape(-1, 3)
    lightness = (away[:, 0] - away[:, 0].mean()) / (_LIGHTNESS_UNIT * np.sqrt(len(away)))
    colour = away[:, 1:].mean(axis=0) / 10
    colour = _COLOUR_WEIGHT * colour / max(1.0, float(np.linalg.norm(colour)) / _COLOUR_BOUND)
    return _unit(np.concatenate([edges, lightness, colour]))


def parts_of(face: Face) -> Parts:
    """The measured parts of a face. Raises UnreadableFace as `describe` does."""
    landmarks = _landmarks_of(face)
    texture = frontal_texture(face.rgb8, landmarks)
    right, left = _visibility(landmarks)
    grey = cv2.cvtColor(texture, cv2.COLOR_RGB2GRAY).astype(np.float32)
    even = _evened(grey)
    edges = np.sqrt(_gradients(even)) * right
    edges += np.sqrt(_gradients(np.ascontiguousarray(even[:, ::-1]))) * left
    lab = cv2.cvtColor(texture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    cells = cv2.resize(lab, (2 * COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    folded = cells[:, :COLUMNS] * right + cells[:, ::-1][:, :COLUMNS] * left
    detail = float(cv2.Laplacian(grey, cv2.CV_32F)[_layout().inside].std())
    return Parts(_unit(edges), np.asarray(folded, np.float32), detail * 2 * min(right, left))


def frontal_texture(rgb8: Picture8, landmarks: Points) -> Picture8:
    """The face as if it looked ahead at rest, (96, 80, 3) uint8 RGB; what lies outside its outline is its mean colour.

    landmarks: (68, 2) in pixels of the picture. Three landmarks span each patch and carry its pixels along.
    """
    layout = _layout()
    points = _with_forehead(landmarks)
    rgb8, points = _shrunk(rgb8, points)
    places = np.asarray(layout.pixels_from_points @ points, np.float32).reshape(HEIGHT, WIDTH, 2)
    across, down = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    texture = np.array(cv2.remap(rgb8, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.uint8)
    texture[~layout.inside] = texture[layout.inside].mean(axis=0)
    return texture


def _shrunk(rgb8: Picture8, points: Points) -> tuple[Picture8, Points]:
    """The part of a picture around points, made smaller by a whole factor where the texture would skip pixels of it."""
    height, width = rgb8.shape[:2]
    factor = min(int(np.ptp(points, axis=0).max() / (_FINEST * HEIGHT)), height // 8, width // 8)
    if factor < 2:
        return rgb8, points
    left, top = np.clip(np.floor(points.min(axis=0)).astype(int) - factor, 0, (width - factor, height - factor))
    right, bottom = np.clip(
        np.ceil(points.max(axis=0)).astype(int) + factor, (left + factor, top + factor), (width, height)
    )
    columns, rows = int(right - left) // factor, int(bottom - top) // factor
    part = rgb8[top : top + rows * factor, left : left + columns * factor]
    small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), (points - (left, top) + 0.5) / factor - 0.5


@dataclass(frozen=True, eq=False)
class _Layout:
    """pixels_from_points: sparse (96 * 80, 78), where each texture pixel lies among the points. inside: (96, 80)."""

    pixels_from_points: sparse.csr_matrix
    inside: npt.NDArray[np.bool_]


@functools.cache
def _layout() -> _Layout:
    """The texture's pixels in barycentric coordinates of a triangulation of the mean face seen from the front."""
    points = _with_forehead(np.asarray(MEAN_FACE[:, :2], np.float64))
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    x, y = np.meshgrid(np.linspace(left, right, WIDTH), np.linspace(top, bottom, HEIGHT))
    pixels = np.column_stack([x.ravel(), y.ravel()])
    mesh = Delaunay(points)
    triangle = mesh.find_simplex(pixels)
    inside = triangle >= 0
    frames = mesh.transform[triangle[inside]]
    two = np.einsum("nij,nj->ni", frames[:, :2], pixels[inside] - frames[:, 2])
    weights = np.column_stack([two, 1 - two.sum(axis=1)])
    rows = np.repeat(np.flatnonzero(inside), 3)
    columns = mesh.simplices[triangle[inside]].ravel()
    matrix = sparse.csr_matrix((weights.ravel(), (rows, columns)), shape=(WIDTH * HEIGHT, len(points)))
    return _Layout(matrix, inside.reshape(HEIGHT, WIDTH))


def _with_forehead(landmarks: Points) -> Points:
    """The 68 points and ten above the brows, (78, 2)."""
    up = (landmarks[36:48].mean(axis=0) - landmarks[48:60].mean(axis=0)) * _FOREHEAD
    return np.vstack([landmarks, landmarks[17:27] + up])


def _landmarks_of(face: Face) -> Points:
    landmarks = np.asarray(face.meta.landmarks, np.float64)
    if not face.meta.has_landmarks or not np.isfinite(landmarks).all() or np.ptp(landmarks, axis=0).min() < 1:
        raise UnreadableFace("This face has no landmarks that span a face.", hint="Extract this face again.")
    return landmarks


def _visibility(landmarks: Points) -> tuple[float, float]:
    """How much the subject's right and left halves of the face count; the sum is 1."""
    up = landmarks[36:48].mean(axis=0) - landmarks[48:60].mean(axis=0)
    across = np.array([-up[1], up[0]]) / max(float(np.linalg.norm(up)), 1e-6)
    nose = landmarks[27:31].mean(axis=0)
    right = max(float((nose - landmarks[0:9].mean(axis=0)) @ across), 0.0)
    left = max(float((landmarks[8:17].mean(axis=0) - nose) @ across), 0.0)
    shares = np.array([right, left]) / max(right + left, 1e-6)
    weights = np.clip((shares - _HIDDEN) / (_SEEN - _HIDDEN), 1e-3, 1)
    weights /= weights.sum()
    return float(weights[0]), float(weights[1])


def _evened(grey: Plane) -> Plane:
    """Brightness (H, W) in 0..255 with light and contrast evened out, about -4..4."""
    dark = np.power(grey / 255 + 1e-3, 0.3, dtype=np.float32)
    detail = cv2.GaussianBlur(dark, (0, 0), 1.0) - cv2.GaussianBlur(dark, (0, 0), 6.0)
    detail /= float(np.sqrt(np.abs(detail)).mean()) ** 2 + 1e-6
    return np.asarray(np.tanh(detail / 4) * 4, np.float32)


def _gradients(plane: Plane) -> Plane:
    """Gradient energy by direction in the cells of a plane's left half, (12, 5, 9), shared between two directions."""
    half = np.ascontiguousarray(plane[:, : WIDTH // 2 + 1])
    across = cv2.Sobel(half, cv2.CV_32F, 1, 0, ksize=1)[:, : WIDTH // 2]
    down = cv2.Sobel(half, cv2.CV_32F, 0, 1, ksize=1)[:, : WIDTH // 2]
    energy, angle = cv2.cartToPolar(across, down)
    place = angle * np.float32(DIRECTIONS / np.pi)
    first = np.floor(place)
    share = place - first
    chosen = first.astype(np.intp) % DIRECTIONS
    cell = _cell_numbers() * DIRECTIONS
    count = ROWS * COLUMNS * DIRECTIONS
    sums = np.bincount((cell + chosen).ravel(), (energy * (1 - share)).ravel(), count)
    sums += np.bincount((cell + (chosen + 1) % DIRECTIONS).ravel(), (energy * share).ravel(), count)
    return np.asarray(sums.reshape(ROWS, COLUMNS, DIRECTIONS) / CELL**2, np.float32)


@functools.cache
def _cell_numbers() -> npt.NDArray[np.intp]:
    """The cell of every pixel of the texture's left half, (96, 40)."""
    rows, columns = np.indices((HEIGHT, WIDTH // 2)) // CELL
    return np.asarray(rows * COLUMNS + columns, np.intp)


@functools.cache
def _mean_face() -> tuple[Plane, Plane]:
    """(edges, lab) of the mean face."""
    text = (resources.files("understudy.curation") / "mean_appearance.json").read_text(encoding="utf-8")
    stored = json.loads(text)
    edges = np.array(stored["edges"], np.float32).reshape(ROWS, COLUMNS, DIRECTIONS)
    return edges, np.array(stored["lab"], np.float32).reshape(ROWS, COLUMNS, 3)


def _unit(values: npt.NDArray[Any]) -> Plane:
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-9), np.float32)
