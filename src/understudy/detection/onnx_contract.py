"""What an ONNX detector or landmarker may look like, and how its answers are read. Arrays only; nothing runs here.

The form is seen from the shapes of the outputs, or said in `engine.json` beside the files:

    {"detector": {"kind": "scrfd", "size": 640, "colour": "rgb", "mean": 127.5, "scale": 0.0078125, "threshold": 0.5},
     "landmarks": {"kind": "coordinates", "size": 192, "margin": 1.5, "unit": "centred"},
     "licence": "…", "data_terms": "…"}

Detectors see the whole frame in the top left corner of a square of `size` px. Landmarkers see a square around the box
of the face, `margin` times its longer side, in `size` px. Pixels enter as (value - mean) * scale, (1, 3, H, W).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from understudy.errors import IncompatibleModel

Floats = NDArray[np.float32]
Found = NDArray[np.float64]  # (n, 5): left, top, right, bottom in input pixels, score 0..1


class DetectorKind(StrEnum):
    """How a detector's outputs are laid out."""

    SCRFD = "scrfd"  # per stride 8, 16, 32: scores (n,1), box distances (n,4), maybe points (n,10); 1 or 2 anchors
    YUNET = "yunet"  # per stride 8, 16, 32: cls, obj, bbox, kps, named so
    YOLO = "yolo"  # one output (1, 5+k, n) or (1, n, 5+k): centre, size, score, in input pixels
    RETINAFACE = "retinaface"  # boxes (n,4), classes (n,2), maybe points (n,10), against anchors of six sizes
    BOXES = "boxes"  # one output (n, 5+): left, top, right, bottom, score, in input pixels, overlaps already removed


class LandmarksKind(StrEnum):
    """How a landmarker's output is laid out."""

    HEAT_MAPS = "heat-maps"  # (1, 68 or 98, h, w), one peak each
    COORDINATES = "coordinates"  # (1, 2n) or (1, n, 2 or 3), n 68, 98 or 106


class DetectorForm(BaseModel):
    """How to call a detector. mean, scale: one number or one for each channel; size: side of its square input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: DetectorKind
    size: int = Field(default=640, ge=32, le=4096)
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: float | tuple[float, float, float] = 127.5
    scale: float | tuple[float, float, float] = 1 / 128
    threshold: float = Field(default=0.5, gt=0, lt=1)


class LandmarksForm(BaseModel):
    """How to call a landmarker.

    unit of coordinates: `input` pixels, `unit` 0..1 of the input, `centred` -1..1 of it. margin: side of the square
    that it sees, over the longer side of the box.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: LandmarksKind
    size: int = Field(default=256, ge=16, le=2048)
    colour: Literal["rgb", "bgr"] = "rgb"
    mean: float | tuple[float, float, float] = 0.0
    scale: float | tuple[float, float, float] = 1 / 255
    margin: float = Field(default=1.25, gt=0.5, lt=4)
    unit: Literal["input", "unit", "centred"] = "unit"


class EngineFile(BaseModel):
    """`engine.json`: what cannot be seen from the files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    detector: DetectorForm | None = None
    landmarks: LandmarksForm | None = None
    licence: str = ""
    data_terms: str = ""


STRIDES = (8, 16, 32)
WIDEST_ROW = 32
"""More numbers than this are no box with its score and points."""

RETINA_SIZES = ((16, 32), (64, 128), (256, 512))
RETINA_VARIANCES = 0.1, 0.2

# 68 points out of other layouts: WFLW's 98 and the 106 of InsightFace's models.
FROM_98 = np.array(
    [
        *range(0, 33, 2),
        *(33, 34, 35, 36, 37, 42, 43, 44, 45, 46),
        *range(51, 60),
        *(60, 61, 63, 64, 65, 67, 68, 69, 71, 72, 73, 75),
        *range(76, 96),
    ]
)
FROM_106 = np.array(
    [
        *(1, 10, 12, 14, 16, 3, 5, 7, 0, 23, 21, 19, 32, 30, 28, 26, 17),
        *(43, 48, 49, 51, 50, 102, 103, 104, 105, 101),
        *(72, 73, 74, 86, 78, 79, 80, 85, 84),
        *(35, 41, 42, 39, 37, 36, 89, 95, 96, 93, 91, 90),
        *(52, 64, 63, 71, 67, 68, 61, 58, 59, 53, 56, 55),
        *(65, 66, 62, 70, 69, 57, 60, 54),
    ]
)
LAYOUTS: dict[int, NDArray[np.int64] | None] = {68: None, 98: FROM_98, 106: FROM_106}


def detector_kind(outputs: Mapping[str, Sequence[int]]) -> DetectorKind | None:
    """The kind of a detector whose outputs have these names and shapes; None for one that is not known."""
    shapes = list(outputs.values())
    last = [shape[-1] if shape else 0 for shape in shapes]
    if len(shapes) == 12 and all(any(name.startswith(part) for name in outputs) for part in ("cls", "obj", "bbox")):
        return DetectorKind.YUNET
    if len(shapes) in (6, 9) and last[:6] == [1, 1, 1, 4, 4, 4]:
        return DetectorKind.SCRFD
    if len(shapes) in (2, 3) and sorted(last)[:2] == [2, 4] and last.count(4) == 1:
        return DetectorKind.RETINAFACE
    if len(shapes) != 1:
        return None
    (shape,) = shapes
    if len(shape) == 3 and min(shape[1:]) >= 5 and max(shape[1:]) > 100:
        return DetectorKind.YOLO
    return DetectorKind.BOXES if len(shape) in (2, 3) and 5 <= shape[-1] <= WIDEST_ROW else None


def landmarks_kind(shape: Sequence[int]) -> LandmarksKind | None:
    """The kind of a landmarker whose output has this shape; None for one that is not known."""
    if len(shape) == 4 and shape[1] in LAYOUTS and min(shape[2:]) > 4:
        return LandmarksKind.HEAT_MAPS
    count = shape[-2] if len(shape) == 3 and shape[-1] in (2, 3) else shape[-1] / 2 if shape else 0
    return LandmarksKind.COORDINATES if count in LAYOUTS else None


def read_boxes(kind: DetectorKind, outputs: Mapping[str, Floats], size: int) -> Found:
    """Every box of a detector's answer, overlapping ones included. Raises IncompatibleModel for other shapes."""
    readers = {
        DetectorKind.SCRFD: _scrfd,
        DetectorKind.YUNET: _yunet,
        DetectorKind.YOLO: _yolo,
        DetectorKind.RETINAFACE: _retinaface,
        DetectorKind.BOXES: _boxes,
    }
    try:
        found = readers[kind](outputs, size)
    except (ValueError, IndexError, KeyError) as error:
        shapes = ", ".join(f"{name} {value.shape}" for name, value in outputs.items())
        raise IncompatibleModel(
            f"The detector's outputs are not those of {kind}: {shapes}.",
            hint="Name its kind in engine.json; docs/guide/engines.md lists those that are understood.",
        ) from error
    finite: Found = found[np.isfinite(found).all(axis=1)]
    return finite


def read_landmarks(kind: LandmarksKind, output: Floats, form: LandmarksForm) -> tuple[Found, float]:
    """(68, 2) in 0..1 of the input, x first, and how sure the network is; 1 where it does not say."""
    if kind == LandmarksKind.HEAT_MAPS:
        from understudy.detection.two_step import peaks

        points, heights = peaks(output)
        return _as_68(points[0]), float(np.clip(heights[0].mean(), 0, 1))
    flat = output.reshape(-1, output.shape[-1]) if output.ndim == 3 else output.reshape(-1, 2)
    values = flat[:, :2].astype(np.float64)
    places = {"input": values / form.size, "unit": values, "centred": (values + 1) / 2}
    return _as_68(places[form.unit]), 1.0


def _as_68(points: Found) -> Found:
    order = LAYOUTS[len(points)]
    return points if order is None else points[order]


def _scrfd(outputs: Mapping[str, Floats], size: int) -> Found:
    given = list(outputs.values())
    found = []
    for level, stride in enumerate(STRIDES):
        scores, sides = given[level].reshape(-1), given[level + len(STRIDES)].reshape(-1, 4) * stride
        cells = (size // stride) ** 2
        centres = np.repeat(_grid(size // stride) * stride, len(scores) // cells, axis=0)
        found.append(_corners(centres - sides[:, :2], centres + sides[:, 2:], scores))
    return np.concatenate(found)


def _yunet(outputs: Mapping[str, Floats], size: int) -> Found:
    found = []
    for stride in STRIDES:
        cls, obj, box = (outputs[f"{part}_{stride}"] for part in ("cls", "obj", "bbox"))
        score = np.sqrt(np.clip(cls.reshape(-1), 0, 1) * np.clip(obj.reshape(-1), 0, 1))
        values = box.reshape(-1, 4)
        centre = (_grid(size // stride) + values[:, :2]) * stride
        half = np.exp(np.minimum(values[:, 2:], 20)) * stride / 2
        found.append(_corners(centre - half, centre + half, score))
    return np.concatenate(found)


def _yolo(outputs: Mapping[str, Floats], size: int) -> Found:
    (output,) = outputs.values()
    rows = output[0] if output.shape[1] > output.shape[2] else output[0].T
    return _corners(rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2, rows[:, 4])


def _retinaface(outputs: Mapping[str, Floats], size: int) -> Found:
    by_width = {value.shape[-1]: value.reshape(-1, value.shape[-1]) for value in outputs.values()}
    offsets, classes = by_width[4], by_width[2]
    anchors = _retina_anchors(size)
    centre = anchors[:, :2] + offsets[:, :2] * RETINA_VARIANCES[0] * anchors[:, 2:]
    half = anchors[:, 2:] * np.exp(np.minimum(offsets[:, 2:] * RETINA_VARIANCES[1], 20)) / 2
    return _corners(centre - half, centre + half, classes[:, 1])


def _retina_anchors(size: int) -> Found:
    """Centre and size of each anchor in input pixels, (n, 4)."""
    anchors = []
    for stride, sizes in zip(STRIDES, RETINA_SIZES, strict=True):
        centres = np.repeat((_grid(-(-size // stride)) + 0.5) * stride, len(sizes), axis=0)
        sides = np.tile(np.array(sizes, dtype=np.float64), len(centres) // len(sizes))
        anchors.append(np.concatenate([centres, sides[:, None], sides[:, None]], axis=1))
    return np.concatenate(anchors)


def _boxes(outputs: Mapping[str, Floats], size: int) -> Found:
    (output,) = outputs.values()
    rows = output.reshape(-1, output.shape[-1])
    return _corners(rows[:, :2], rows[:, 2:4], rows[:, 4])


def _grid(count: int) -> Found:
    """(count², 2) cell numbers, x first, row by row."""
    y, x = np.mgrid[:count, :count]
    return np.stack([x.ravel(), y.ravel()], axis=1).astype(np.float64)


def _corners(low: NDArray[np.floating], high: NDArray[np.floating], scores: Floats) -> Found:
    return np.concatenate([low, high, scores[:, None]], axis=1).astype(np.float64)
