"""Options of `faceset enhance`. Imports neither cv2 nor torch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from pydantic import model_validator

from understudy.options import Options, option
from understudy.records import PrecisionChoice

MINUTES_ON_CPU, MINUTES_ON_GPU = 10.0, 3.0


class ColourOrder(StrEnum):
    """In which order an ONNX network has the colours of a pixel."""

    RGB = "rgb"
    BGR = "bgr"


class ValueRange(StrEnum):
    """Between which numbers an ONNX network has black and white."""

    UNIT = "0..1"
    SIGNED = "-1..1"
    BYTES = "0..255"


class Fit(StrEnum):
    """How faces are brought to the size that an ONNX network takes."""

    TILES = "tiles"
    WHOLE = "whole"


class EnhanceOptions(Options):
    """How soft faces are given the detail of sharp ones."""

    all: bool = option(False, "Enhance every face, not only the soft ones.", group="Faces")
    soft_below: float = option(
        0.6,
        "A face is soft when it has less than this share of the detail that the sharpest quarter has.",
        group="Faces",
        gt=0,
        le=1,
    )
    strength: float = option(
        1.0,
        "How much of what the restorer adds is used: 0 nothing, 1 all that the held-out faces vouch for.",
        group="Faces",
        ge=0,
        le=1,
    )
    vouched: bool = option(
        True,
        "Use a restorer only as far as it is measured to come nearer to held-out sharp faces. Without it a restorer is "
        "always used in full, and only what is plainly wrong with a face holds it back.",
        group="Faces",
    )
    replace: bool = option(
        False,
        "Put the enhanced faces in the place of the old ones, which move to aligned_trash (undo: faceset undo).",
        group="Faces",
    )
    jpeg_quality: int = option(
        100, "JPEG quality of enhanced faces, which were compressed once already.", group="Faces", ge=50, le=100
    )
    minutes: float = option(
        0.0,
        f"Learn for at most this long; 0: {MINUTES_ON_CPU:g} on a processor, {MINUTES_ON_GPU:g} on a graphics card, or "
        "as --iterations says. It ends earlier where nothing is gained any more.",
        group="Learning",
        unit="min",
        ge=0,
    )
    iterations: int = option(0, "Learn for at most so many iterations; 0: no such limit.", group="Learning", ge=0)
    fresh: bool = option(
        False, "Learn anew; the restorer that is there moves to the workspace's trash.", group="Learning"
    )
    seed: int = option(
        0, "Start of all random draws; the same seed learns the same.", group="Learning", ge=0, le=2**31 - 1
    )
    model: Path | None = option(
        None, "An ONNX file with a restorer to use instead of learning one.", group="ONNX restorer"
    )
    model_order: ColourOrder = option(ColourOrder.RGB, "Order of the colours in it.", group="ONNX restorer")
    model_range: ValueRange = option(ValueRange.UNIT, "Black and white in it.", group="ONNX restorer")
    model_fit: Fit = option(
        Fit.TILES,
        "tiles: the face goes through it in overlapping pieces at its own scale; whole: the face is resized to its "
        "input, for networks that know what a face is.",
        group="ONNX restorer",
    )
    model_tile: int = option(
        512,
        "Side of the pieces for a network that takes any size.",
        group="ONNX restorer",
        unit="px",
        ge=64,
        le=4096,
    )
    device: str = option("auto", "Where the network runs: auto, cpu, cuda:0, mps.", group="Machine")
    precision: PrecisionChoice = option(
        PrecisionChoice.AUTO,
        "Arithmetic of the network. auto measures once what this machine gains from.",
        group="Machine",
    )
    threads: int = option(
        0,
        "Processor threads for the network; 0: OMP_NUM_THREADS, else one for each core.",
        group="Machine",
        ge=0,
        le=1024,
    )
    workers: int = option(0, "Threads that read and write faces; 0: one per core.", group="Machine", ge=0, le=256)

    @model_validator(mode="after")
    def _model_exists(self) -> EnhanceOptions:
        if self.model is not None and not self.model.is_file():
            raise ValueError(f"model: there is no file {self.model}")
        return self
