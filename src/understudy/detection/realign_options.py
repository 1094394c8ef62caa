"""Options of aligning faces anew. Imports neither cv2 nor torch."""

from __future__ import annotations

import math
from pathlib import Path

from pydantic import field_validator, model_validator

from understudy.detection.options import IMAGE_SIZE, LARGEST_IMAGE, Accuracy
from understudy.options import Options, option
from understudy.records import FaceType, FootageFrom, Rect


class RealignOptions(Options):
    """Where the face is, or which frames are to be searched again."""

    rect: str | None = option(
        None, "Box around the face, LEFT,TOP,RIGHT,BOTTOM: about forehead to chin. Its landmarks are found.",
        group="Where the face is", unit="px of the frame",
    )  # fmt: skip
    turn: float | None = option(
        None, "How far the head is turned in the picture, clockwise; with rect, where it is not found right by itself.",
        group="Where the face is", unit="degrees", ge=-360, le=360,
    )  # fmt: skip
    landmarks: Path | None = option(
        None, "File with the 68 landmarks in pixels of the frame: JSON, or .pts.", group="Where the face is"
    )
    anchor: str | None = option(
        None, "X,Y of the nose's tip: an average face is laid there, for faces that no network sees; needs tip.",
        group="Where the face is", unit="px of the frame",
    )  # fmt: skip
    tip: str | None = option(
        None, "X,Y to the right of anchor, as seen by an upright face, at the distance of the face's width.",
        group="Where the face is", unit="px of the frame",
    )  # fmt: skip
    face: int | None = option(
        None, "Number of the face in its frame that this is; by default the one that lies there, else a new one.",
        group="Where the face is", ge=0, le=9999,
    )  # fmt: skip
    all_deleted_debug: bool = option(
        False, "Search again, thoroughly, every frame whose debug image was deleted.", group="Many frames"
    )
    all_missing: bool = option(
        False, "Search again, thoroughly, every frame where the review misses a face.", group="Many frames"
    )
    engine: str = option("mediapipe", "Networks that find faces and landmarks.", group="Engine")
    accuracy: Accuracy = option(Accuracy.HIGH, "high: several looks at each face, averaged; fast: one.", group="Engine")
    device: str = option("cpu", "Where the networks run.", group="Engine")
    face_type: FaceType = option(
        FaceType.WHOLE_FACE, "Face type, only for a faceset without faces.", group="An empty faceset"
    )
    image_size: int = option(
        IMAGE_SIZE, "Side of the aligned picture, only for a faceset without faces.", group="An empty faceset",
        unit="px", ge=64, le=LARGEST_IMAGE,
    )  # fmt: skip
    jpeg_quality: int = option(90, "JPEG quality of the aligned faces.", group="Output", ge=1, le=100)
    from_: FootageFrom | None = option(
        None, "Read the frames from the video or from the folder of frames; by default frames win.", group="Input"
    )

    @field_validator("rect")
    @classmethod
    def _rect_is_four_numbers(cls, text: str | None) -> str | None:
        if text is not None:
            numbers(text, 4)
        return text

    @field_validator("anchor", "tip")
    @classmethod
    def _point_is_two_numbers(cls, text: str | None) -> str | None:
        if text is not None:
            numbers(text, 2)
        return text

    @model_validator(mode="after")
    def _one_way(self) -> RealignOptions:
        if (self.anchor is None) != (self.tip is None):
            raise ValueError("anchor and tip go together")
        ways = {
            "rect": self.rect is not None, "landmarks": self.landmarks is not None, "anchor": self.anchor is not None,
            "all_deleted_debug": self.all_deleted_debug, "all_missing": self.all_missing,
        }  # fmt: skip
        chosen = [name for name, given in ways.items() if given]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} do not go together")
        if self.turn is not None and self.rect is None:
            raise ValueError("turn needs rect")
        if self.is_for_many and self.face is not None:
            raise ValueError(f"face and {chosen[0]} do not go together")
        return self

    @property
    def is_for_many(self) -> bool:
        """Whether frames are chosen by what is known of them instead of named."""
        return self.all_deleted_debug or self.all_missing

    @property
    def box(self) -> Rect | None:
        return None if self.rect is None else Rect(*numbers(self.rect, 4))


def numbers(text: str, count: int) -> tuple[float, ...]:
    """So many finite numbers, separated by commas or spaces. Raises ValueError."""
    parts = text.replace(",", " ").split()
    try:
        values = tuple(float(part) for part in parts)
    except ValueError:
        values = ()
    if len(values) != count or not all(math.isfinite(value) for value in values):
        example = "100,80,260,280" if count == 4 else "640,360"
        raise ValueError(f"{count} numbers are needed, such as {example}")
    return values
