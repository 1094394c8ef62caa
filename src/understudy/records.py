"""Words that several layers share, as plain records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Side(StrEnum):
    """src: the person whose face will be seen; dst: the footage that receives it."""

    SRC = "src"
    DST = "dst"


class FootageFrom(StrEnum):
    """Where frames are read: the video file itself or the folder of frames."""

    VIDEO = "video"
    FRAMES = "frames"


class PrecisionChoice(StrEnum):
    """What a person may ask for with `--precision`: the number type that networks compute in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class FaceType(StrEnum):
    """How much of the head an aligned square covers. The value is the name in face files (spec: alignment, 1).

    The short names that people type, such as "wf", are accepted where a value is: FaceType("wf") is WHOLE_FACE.
    """

    HALF = "half_face"
    MID_FULL = "midfull_face"
    FULL = "full_face"
    FULL_NO_ALIGN = "full_face_no_align"
    WHOLE_FACE = "whole_face"
    HEAD = "head"
    HEAD_NO_ALIGN = "head_no_align"
    MARK_ONLY = "mark_only"

    @classmethod
    def _missing_(cls, value: object) -> FaceType | None:
        short = {"h": cls.HALF, "mf": cls.MID_FULL, "f": cls.FULL, "wf": cls.WHOLE_FACE}
        text = str(value).lower()
        return short.get(text) or next((member for member in cls if member.value == text), None)


@dataclass(frozen=True)
class Rect:
    """A rectangle in frame pixels, left <= right and top <= bottom."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def area(self) -> float:
        return self.width * self.height


@dataclass(frozen=True)
class Skipped:
    """One item that could not be used, and why; every stage's result lists these."""

    item: str
    reason: str
