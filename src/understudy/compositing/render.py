"""One frame of footage with its faces redrawn: a pure function of frame, faces, predictor and options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from understudy.compositing import quirks
from understudy.compositing.compose import Landmarks, Predict, compose_faces
from understudy.compositing.options import MergeOptions
from understudy.imaging.types import AnyPlate, Mask
from understudy.media import Frame, composite_onto
from understudy.records import FaceType


@dataclass(frozen=True, eq=False)
class Swapper:
    """A trained network as merging needs it: one crop in, face and masks out, on squares of size and face_type."""

    predict: Predict
    size: int
    face_type: FaceType


@dataclass(frozen=True, eq=False)
class RenderedFrame:
    """A frame with its faces redrawn, and the merge mask (H, W) float32 0..1 of the whole frame."""

    frame: Frame
    mask: Mask

    @classmethod
    def untouched(cls, frame: Frame) -> RenderedFrame:
        """The frame as it is, with an empty mask."""
        return cls(frame, np.zeros((frame.height, frame.width), np.float32))


def render_frame(frame: Frame, faces: Sequence[Landmarks], swapper: Swapper, options: MergeOptions) -> RenderedFrame:
    """Redraw the faces of a frame; source samples that no face covers stay as they are.

    faces: landmarks (68, 2) in pixels of the frame, later ones over earlier ones. Raises ValueError for landmarks that
    do not span a face.
    """
    if not faces:
        return RenderedFrame.untouched(frame)
    composite = compose_faces(plate_of(frame), faces, swapper.predict, swapper.size, swapper.face_type, options)
    image, mask = composite.image, composite.mask_of(frame.height, frame.width)
    if options.keeps_quirks and frame.bit_depth <= 8:
        image, mask = quirks.truncated(image), quirks.truncated(mask)
    return RenderedFrame(composite_onto(frame, image, composite.cover, composite.box), mask)


def plate_of(frame: Frame) -> AnyPlate:
    """The frame in the leanest form that loses nothing: uint8 for 8 bit, else float32."""
    return frame.rgb8 if frame.bit_depth <= 8 else frame.rgb
