"""ONNX networks from files: a detector, a landmarker, or both; what is missing is BlazeFace or FaceMesh.

    folder/detector.onnx    folder/landmarks.onnx    folder/engine.json (when shapes do not say enough)

A single file is judged by its outputs. onnx_contract.py says which forms are understood.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from understudy.detection.fan_engine import OVERLAP, without_overlaps
from understudy.detection.found import Engine
from understudy.detection.onnx_contract import (
    DetectorForm,
    EngineFile,
    LandmarksForm,
    detector_kind,
    landmarks_kind,
    read_boxes,
    read_landmarks,
)
from understudy.detection.options import Accuracy
from understudy.detection.pictures import Picture, Square
from understudy.detection.two_step import Box, Image8, Landmarks, Look, TwoStepEngine
from understudy.errors import IncompatibleModel, InvalidOption
from understudy.networks.onnx_files import OnnxNetwork
from understudy.records import Rect

DETECTOR, LANDMARKS, DESCRIPTION = "detector.onnx", "landmarks.onnx", "engine.json"


def load_onnx_engine(
    path: Path, *, threads: int = 1, device: str = "cpu", accuracy: Accuracy = Accuracy.HIGH
) -> Engine:
    """The engine in a folder, or the one network in a file completed by the embedded ones.

    Raises MissingExtra without onnxruntime, InvalidOption when nothing is there, IncompatibleModel for a form that is
    not understood.
    """
    from understudy.detection.finder import MediapipeBoxes, MediapipeLandmarks

    said = _description(path if path.is_dir() else path.parent)
    files = [path / DETECTOR, path / LANDMARKS] if path.is_dir() else [path]
    sessions = [_Session(file, threads=threads, device=device) for file in files if file.is_file()]
    if not sessions:
        raise InvalidOption(
            f"There is neither {DETECTOR} nor {LANDMARKS} here: {path}",
            hint="docs/guide/engines.md shows such a folder.",
        )
    detector, landmarker = None, None
    for session in sessions:
        if _is_landmarker(session, said):
            landmarker = OnnxLandmarker(session, said.landmarks)
        else:
            detector = OnnxDetector(session, said.detector)
    return TwoStepEngine(
        detector or MediapipeBoxes(threads=threads),
        landmarker or MediapipeLandmarks(threads=threads),
        accuracy=accuracy,
    )


class OnnxDetector:
    """See `two_step.Detector`."""

    def __init__(self, session: _Session, form: DetectorForm | None = None) -> None:
        if form is None:
            kind = detector_kind(session.outputs)
            if kind is None:
                raise session.not_understood("detector")
            form = DetectorForm(kind=kind)
        self._session, self._form = session, form
        self._size = session.input_size or form.size

    def detect(self, pictures: Sequence[Image8]) -> list[list[Box]]:
        return [self._detect(picture) for picture in pictures]

    def _detect(self, picture: Image8) -> list[Box]:
        height, width = picture.shape[:2]
        factor = max(height, width) / self._size
        small = (max(1, round(width / factor)), max(1, round(height / factor)))
        canvas = np.zeros((self._size, self._size, 3), np.uint8)
        canvas[: small[1], : small[0]] = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
        answer = self._session.run(canvas, self._form)
        found = read_boxes(self._form.kind, answer, self._size)
        found = found[found[:, 4] >= self._form.threshold]
        found = found[without_overlaps(found, OVERLAP)]
        scale = (width / small[0], height / small[1])
        boxes = [
            Box(Rect(left * scale[0], top * scale[1], right * scale[0], bottom * scale[1]), min(1.0, score))
            for left, top, right, bottom, score in found.tolist()
            if right > left and bottom > top
        ]
        return sorted(boxes, key=lambda box: -box.rect.area)


class OnnxLandmarker:
    """See `two_step.Landmarker`."""

    def __init__(self, session: _Session, form: LandmarksForm | None = None) -> None:
        if form is None:
            kind = landmarks_kind(next(iter(session.outputs.values())))
            if kind is None:
                raise session.not_understood("landmarker")
            form = LandmarksForm(kind=kind)
        self._session, self._form = session, form
        self._size = session.input_size or form.size

    def landmarks(self, looks: Sequence[Look]) -> list[tuple[Landmarks, float]]:
        return [self._landmarks(look) for look in looks]

    def _landmarks(self, look: Look) -> tuple[Landmarks, float]:
        rect, form = look.rect, self._form.model_copy(update={"size": self._size})
        x = (rect.left + rect.right) / 2 + look.shift[0]
        y = (rect.top + rect.bottom) / 2 + look.shift[1]
        square = Square(x, y, max(rect.width, rect.height) * form.margin, look.turn)
        answer = self._session.run(Picture(look.picture).cut(square, self._size), form)
        output = next(iter(answer.values()))
        if landmarks_kind(output.shape) != form.kind:
            raise self._session.not_understood("landmarker")
        points, sure = read_landmarks(form.kind, output, form)
        return square.to_frame(points), sure


class _Session:
    """One ONNX network of an engine. input_size: the side that it asks for, None if any will do."""

    def __init__(self, path: Path, *, threads: int, device: str) -> None:
        self._network = OnnxNetwork(path, threads=threads, device=device)
        self.path, self.input_size = path, self._network.input.side
        self.outputs = self._shapes()

    def run(self, picture: Image8, form: DetectorForm | LandmarksForm) -> dict[str, NDArray[np.float32]]:
        """The outputs by name for an RGB picture (S, S, 3)."""
        coloured = picture if form.colour == "rgb" else picture[..., ::-1]
        values = (coloured.astype(np.float32) - np.asarray(form.mean, np.float32)) * np.asarray(form.scale, np.float32)
        return {name: np.asarray(value, np.float32) for name, value in self._network.run(values).items()}

    def not_understood(self, what: str) -> IncompatibleModel:
        shapes = ", ".join(f"{name} {list(shape)}" for name, shape in self.outputs.items())
        return IncompatibleModel(
            f"{self.path.name} is a {what} of a form that is not understood"
            + (f"; its outputs are {shapes}." if shapes else "."),
            hint=f"Describe it in {DESCRIPTION} beside it; docs/guide/engines.md lists the forms.",
            path=self.path,
        )

    def _shapes(self) -> dict[str, list[int]]:
        """The outputs' shapes; where the file leaves sides open, those that a grey picture gives."""
        said = self._network.outputs
        known = {name: [side for side in shape if isinstance(side, int)] for name, shape in said.items()}
        if all(len(known[name]) == len(shape) for name, shape in said.items()):
            return known
        side = self.input_size or 640
        return {name: list(value.shape) for name, value in self._network.run(np.zeros((side, side, 3))).items()}


def _is_landmarker(session: _Session, said: EngineFile) -> bool:
    if session.path.name in (DETECTOR, LANDMARKS):
        return session.path.name == LANDMARKS
    if (said.landmarks is None) != (said.detector is None):
        return said.landmarks is not None
    shapes = list(session.outputs.values())
    return detector_kind(session.outputs) is None or (len(shapes) == 1 and landmarks_kind(shapes[0]) is not None)


def _description(folder: Path) -> EngineFile:
    path = folder / DESCRIPTION
    if not path.is_file():
        return EngineFile()
    try:
        return EngineFile.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidOption(f"{DESCRIPTION}: {where}: {first['msg']}", hint=f"Mend {path}") from error
