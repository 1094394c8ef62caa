"""A face recognition network of the user's own, as an ONNX file: faces in, vectors out.

Networks of the ArcFace kind (Deng et al., "ArcFace: additive angular margin loss for deep face recognition", 2019) take
a face of 112 x 112 px whose eyes, nose and mouth lie in fixed places, and give a vector; faces of one person have
vectors of like direction. Their weights mostly come with terms that forbid passing them on, so none is here.
"""

from __future__ import annotations

import importlib
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from understudy.curation.appearance import Vector
from understudy.curation.person_options import ColourOrder
from understudy.errors import IncompatibleModel, MissingEngine, MissingExtra, UnreadableFace
from understudy.facesets import Face
from understudy.geometry.affine import Affine, Points
from understudy.geometry.alignment import fit_similarity

THRESHOLD = 0.4
"""Cosine from which such networks' mean vectors count as one person, in place of `persons.THRESHOLD`."""

SIDE = 112
FIVE_POINTS = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)
"""Where the eyes, the tip of the nose and the corners of the mouth lie at 112 px."""

_LARGEST_SIDE = 1024


class RecognitionNetwork:
    """One such network. `describe` may be called from several threads."""

    def __init__(self, path: Path, *, colours: ColourOrder = ColourOrder.RGB, threads: int = 1) -> None:
        """Load it. Raises MissingEngine, MissingExtra without onnxruntime, IncompatibleModel for another kind."""
        self.path, self.colours = path, ColourOrder(colours)
        self._session = _session(path, threads)
        self._input, self._channels_last, self.side = _read_input(self._session, path)
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
        batch = values[None] if self._channels_last else values.transpose(2, 0, 1)[None]
        try:
            with self._lock:
                outputs = self._session.run(None, {self._input: np.ascontiguousarray(batch)})
        except Exception as error:  # onnxruntime has a class of its own for each failure
            raise _incompatible(self.path, f"it cannot be run: {str(error).splitlines()[0][:200]}") from None
        return _vector(outputs, self.path)


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


def _session(path: Path, threads: int) -> Any:
    if not path.is_file():
        raise MissingEngine(f"There is no file {path.name}.", hint=f"Look whether this is its place: {path}")
    try:
        onnxruntime: Any = importlib.import_module("onnxruntime")
    except ImportError:
        raise MissingExtra(
            "Networks in ONNX files need onnxruntime, which is not installed.",
            hint='Install it with: pip install "understudy[onnx]"',
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise _incompatible(path, f"it cannot be read: {str(error).splitlines()[0][:200]}") from None


def _read_input(session: Any, path: Path) -> tuple[str, bool, int]:
    """(name, channels last, side) of the network's one picture input."""
    inputs = session.get_inputs()
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
        shapes = ", ".join(f"{item.name} {item.shape}" for item in inputs)
        raise _incompatible(path, f"it takes {shapes or 'nothing'}, not one picture of floats")
    shape = inputs[0].shape
    is_last = shape[3] == 3 and shape[1] != 3
    if not is_last and shape[1] != 3 and isinstance(shape[1], int):
        raise _incompatible(path, f"it takes {shape[1]} channels, not 3")
    sides = [side for side in (shape[1:3] if is_last else shape[2:4]) if isinstance(side, int)]
    if len(set(sides)) > 1 or any(not 16 <= side <= _LARGEST_SIDE for side in sides):
        raise _incompatible(path, f"it takes pictures of {sides} pixels")
    return inputs[0].name, is_last, sides[0] if sides else SIDE


def _vector(outputs: list[Any], path: Path) -> npt.NDArray[np.float32]:
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
