"""Options of extraction. Imports neither cv2 nor torch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from understudy.options import Options, option
from understudy.records import FaceType, FootageFrom


class Accuracy(StrEnum):
    """How often landmarks are looked for once a face is found."""

    HIGH = "high"
    FAST = "fast"


IMAGE_SIZE, HEAD_IMAGE_SIZE = 512, 768
SMALLEST_IMAGE, LARGEST_IMAGE = 256, 2048
AUTO = "auto"


class ExtractOptions(Options):
    """How faces are found in frames and cut out of them."""

    face_type: FaceType = option(
        FaceType.WHOLE_FACE,
        "How much of the head each aligned face covers: h half, mf mid-full, f full, wf whole face, head.",
        group="Faces",
    )
    image_size: Annotated[int, Field(ge=0, le=LARGEST_IMAGE)] | Literal["auto"] = option(
        0,
        f"Side of the aligned picture, {SMALLEST_IMAGE} to {LARGEST_IMAGE}, or auto: as large as the faces in the "
        f"footage; 0: {IMAGE_SIZE}, or {HEAD_IMAGE_SIZE} for heads.",
        group="Faces",
        unit="px",
    )
    jpeg_quality: int = option(90, "JPEG quality of the aligned faces.", group="Faces", ge=1, le=100)
    max_faces: int = option(
        0, "Keep at most this many faces of a frame, largest first; 0 keeps all.", group="Faces", ge=0
    )
    min_face: int = option(
        24, "Leave out faces whose box is narrower or lower than this.", group="Faces", unit="px", ge=0
    )
    smoothing: float = option(
        1.0,
        "How much the trembling of landmarks from frame to frame is smoothed; 0: not at all.",
        group="Faces",
        ge=0,
        le=4,
        step=0.25,
    )
    engine: str = option(
        "mediapipe",
        "Networks that find faces and landmarks: a name that `engines list` shows, or a folder with ONNX files.",
        group="Engine",
    )
    accuracy: Accuracy | None = option(
        None,
        "high looks at each face more often, for steadier landmarks; by default fast with mediapipe, high with others.",
        group="Engine",
    )
    device: str = option(
        "auto",
        "Where the networks run: cpu, cuda:0, …, or auto for the best; mediapipe always takes the processor.",
        group="Engine",
    )
    workers: int = option(0, "Threads that look for faces; 0: one per core.", group="Engine", ge=0, le=256)
    from_: FootageFrom | None = option(
        None,
        "Read the frames from the video or from the folder of frames; by default frames win if there are any.",
        group="Input",
    )
    debug_images: bool = option(
        False, "Also write each frame with boxes and landmarks drawn on it, into aligned_debug.", group="Output"
    )
    continue_: bool = option(
        True, "Keep the faces that are there and do the frames that are left; --no-continue refuses.", group="Output"
    )
    replace: bool = option(
        False, "Start anew: move the faces that are there to the trash, instead of continuing.", group="Output"
    )

    @field_validator("engine")
    @classmethod
    def _engine_is_found_from_anywhere(cls, engine: str) -> str:
        """A path counts from the folder where it was typed, also in the job that runs elsewhere."""
        is_path = "/" in engine or "\\" in engine or Path(engine).suffix.lower() == ".onnx"
        return str(Path(engine).expanduser().absolute()) if is_path else engine

    @model_validator(mode="after")
    def _size_is_usable(self) -> ExtractOptions:
        if isinstance(self.image_size, int) and 0 < self.image_size < SMALLEST_IMAGE:
            raise ValueError(f"image_size is auto, 0 or from {SMALLEST_IMAGE} to {LARGEST_IMAGE}")
        return self

    @property
    def size(self) -> int:
        """The side of the aligned picture in pixels, with 0 resolved; auto is as 0 until the footage was measured."""
        if isinstance(self.image_size, int) and self.image_size:
            return self.image_size
        heads = (FaceType.HEAD, FaceType.HEAD_NO_ALIGN)
        return HEAD_IMAGE_SIZE if self.face_type in heads else IMAGE_SIZE
