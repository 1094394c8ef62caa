"""Words that several layers share, as plain records."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Literal, cast

from understudy.errors import InvalidOption


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


class WeightsChoice(StrEnum):
    """Which weights of a model to draw with: their slow average (ema), as they were trained, or the average if any."""

    AUTO = "auto"
    EMA = "ema"
    TRAINED = "trained"


NEWEST, BEST = "newest", "best"
"""The two saved states of a model that have a name: the last one, and the one that did best on held-out faces."""

GAN, CODE_DISCRIMINATOR = "gan", "code_discriminator"
"""What the two discriminators are called in training, and what the names of their tensors begin with when saved."""


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
class Archi:
    """Which network of the SAEHD family: `Archi.parse("liae-udt")`, and `str` gives that back with letters in order.

    base: df has an encoder, a bottleneck and a decoder for each person; liae one decoder and two bottlenecks.
    letters: what is different from the plain network (spec: architectures, 3).
    """

    base: Literal["df", "liae"]
    letters: frozenset[str] = frozenset()

    LETTERS: ClassVar[str] = "udtc"

    def __post_init__(self) -> None:
        if self.base not in ("df", "liae") or not self.letters <= set(self.LETTERS):
            raise _no_archi("-".join([self.base, "".join(sorted(self.letters))]))

    @classmethod
    def parse(cls, text: str) -> Archi:
        """The record of a name such as `df`, `liae-ud` or `DF-UTD`; letters in any order. Raises InvalidOption."""
        base, dash, letters = text.strip().lower().partition("-")
        if base not in ("df", "liae") or (dash and not letters) or not set(letters) <= set(cls.LETTERS):
            raise _no_archi(text)
        return cls(cast(Literal["df", "liae"], base), frozenset(letters))

    def __str__(self) -> str:
        letters = "".join(letter for letter in self.LETTERS if letter in self.letters)
        return f"{self.base}-{letters}" if letters else self.base

    @property
    def is_liae(self) -> bool:
        return self.base == "liae"

    @property
    def pixel_norm(self) -> bool:
        """u: the code is scaled to a mean square of one."""
        return "u" in self.letters

    @property
    def doubled(self) -> bool:
        """d: the last doubling is done by the output convolutions, so everything before works on half the grid."""
        return "d" in self.letters

    @property
    def deep(self) -> bool:
        """t: residual blocks in the encoder, and one stage more in the decoder."""
        return "t" in self.letters

    @property
    def cosine(self) -> bool:
        """c: x·cos(x) in the place of every leaky ReLU."""
        return "c" in self.letters


def _no_archi(text: str) -> InvalidOption:
    old = text.strip().lower().partition("-")[0] in ("dfhd", "liaehd", "dfuhd", "liaeuhd")
    hint = "That network was given up in June 2020 and is not built any more." if old else "Examples: df-ud, liae-udt."
    return InvalidOption(
        f"{text!r} is no architecture: df or liae, and after a dash any of the letters u, d, t, c.", hint=hint
    )


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
