"""A face recognition network of the user's own, as an ONNX file: faces in, vectors out.

Networks of the ArcFace kind (Deng et al., "ArcFace: additive angular margin loss for deep face recognition", 2019) take
a face of 112 x 112 px whose eyes, nose and mouth lie in fixed places, and give a vector; faces of one person have
vectors of like direction. Their weights mostly come with terms that forbid passing them on, so none is here.
"""

from __future__ import annotations

import threading
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from understudy.curation.appearance import Vector
from understudy.curation.person_options import ColourOrder
from understudy.errors import IncompatibleModel, UnreadableFace
from understudy.facesets import Face
from understudy.geometry.affine import Affine, Points
from understudy.geometry.alignment import fit_similarity
from understudy.networks.onnx_files import OnnxNetwork

THRESHOLD = 0.4
"""Cosine from which such networks' mean vectors count as one person, in place of `persons.THRESHOLD`."""

SIDE = 112
FIVE_POINTS = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where the eyes, the tip of the nose and the corners of the mouth lie at 112 px."""

_SIDES = range(16, 1025)


class RecognitionNetwork:
    """One such network. `describe` may be called from several threads."""

    def __init__(self, path: Path, *, colours: ColourOrder = ColourOrder.RGB, threads: int = 1) -> None:
        """Load it. Raises as `OnnxNetwork`, and IncompatibleModel for a network that gives no vector."""
        self.path, self.colours = path, ColourOrder(colours)
        self._network = OnnxNetwork(path, threads=threads)
        self.side = self._network.input.side or SIDE
        if self.side not in _SIDES:
            raise _incompatible(path, f"it takes pictures of {self.side} pixels")
        self._lock = threading.Lock()
        self.dimensions = len(self._run(np.zeros((SIDE, SIDE, 3), np.uint8)))

    def describe(self, face: Face) -> Vector:
        """The unit vector (D,) float32 of a face. Raises UnreadableFace without landmarks that span a face."""
        landmarks = np.asarray(face.meta.landmarks, np.float64)
        if not face.meta.has_landmarks or not np.isfinite(landmarks).all() or np.ptp(landmarks, axis=0).min() < 1:
            raise UnreadableFace("This face has no landmarks that span a face.", hint="Extract this face again.")
        vector = self._run(cut_by_five_points(face.rgb8, landmarks, SIDE))
        length = float(np.linalg.norm(vector))
        if not np.isfinite(length) or length == 0:
            raise UnreadableFace(f"The network {self.path.name} gave no usable vector for this face.")
        return np.asarray(vector / length, np.float32)

    def _run(self, rgb8: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The network's own output for a picture (112, 112, 3) RGB."""
        picture = rgb8 if self.side == SIDE else cv2.resize(rgb8, (self.side, self.side), interpolation=cv2.INTER_AREA)
        ordered = picture if self.colours is ColourOrder.RGB else picture[..., ::-1]
        values = (ordered.astype(np.float32) - 127.5) / 127.5
        with self._lock:
            outputs = self._network.run(values)
        return _vector(list(outputs.values()), self.path)


def cut_by_five_points(rgb8: npt.NDArray[np.uint8], landmarks: Points, side: int) -> npt.NDArray[np.uint8]:
    """A face of side x side px with eyes, nose and mouth where such networks expect them.

    landmarks: (68, 2) in pixels of the picture, which is made smaller first where it is more than twice as fine.
    """
    matrix = five_point_matrix(landmarks, side)
    factor = int(1 / max(float(np.sqrt(abs(np.linalg.det(matrix[:, :2])))), 1 / 64))
    if factor >= 2 and min(rgb8.shape[:2]) >= 4 * factor:
        size = (rgb8.shape[1] // factor, rgb8.shape[0] // factor)
        steps = np.array([rgb8.shape[1] / size[0], rgb8.shape[0] / size[1]])
        rgb8 = np.asarray(cv2.resize(rgb8, size, interpolation=cv2.INTER_AREA), np.uint8)
        matrix = np.column_stack([matrix[:, :2] * steps, matrix[:, 2] + matrix[:, :2] @ (steps / 2 - 0.5)])
    return np.asarray(cv2.warpAffine(rgb8, matrix, (side, side), flags=cv2.INTER_LINEAR), np.uint8)


def five_point_matrix(landmarks: Points, side: int = SIDE) -> Affine:
    """The similarity (2, 3) from the picture to the network's picture."""
    eyes = [landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)]
    five = np.array([*eyes, landmarks[30], landmarks[48], landmarks[54]])
    return fit_similarity(five, FIVE_POINTS * (side / SIDE))


def _vector(outputs: list[npt.NDArray[np.generic]], path: Path) -> npt.NDArray[np.float32]:
    vector = np.asarray(outputs[0], np.float32).ravel() if outputs else np.zeros(0, np.float32)
    if len(outputs) < 1 or not 8 <= len(vector) <= 8192:
        raise _incompatible(path, f"it gives {len(vector)} numbers for a face, not a vector of 8 to 8192")
    return vector


def _incompatible(path: Path, why: str) -> IncompatibleModel:
    return IncompatibleModel(
        f"{path.name} is no face recognition network: {why}.",
        hint="Wanted is an ONNX file that takes one face of 112 x 112 px and gives one vector.",
        path=path,
    )
