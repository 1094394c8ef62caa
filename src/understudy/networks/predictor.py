"""A trained model as a function from faces to faces, whatever draws them: NumPy arrays in and out.

predictor = understudy.load_model("shot/model/hello")
face, mask, mask_dst = predictor.predict(crops)      # crops (B,S,S,3) float RGB in 0..1, S = predictor.size
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from understudy.errors import UsageError
from understudy.records import FaceType

Floats: TypeAlias = NDArray[np.float32]

Draw: TypeAlias = Callable[[Floats, float | None], tuple[Floats, Floats, Floats]]
"""Faces (B,S,S,3) RGB and a morph factor → (face (B,S,S,3) RGB, its mask (B,S,S), the given face's mask (B,S,S)).

All float32 in 0..1, B at least 1. May be called by several threads at once.
"""

AT_ONCE, AT_ONCE_PX = 16, 256
"""Faces of this many px that go through the network at once; more gain nothing on a CPU and cost memory."""
OVERSHOOT = 0.5
"""How far beyond 0..1 a value may lie: what sharp resampling leaves there, and no other range."""


class Prediction(NamedTuple):
    """dst faces redrawn as src: face (B,S,S,3) RGB, mask (B,S,S) drawn with it, mask_dst (B,S,S) of the dst face.

    float32 in 0..1; without the B for a single face.
    """

    face: Floats
    mask: Floats
    mask_dst: Floats


@dataclass(frozen=True)
class Drawn:
    """What is known of the network that draws.

    size: side of its square faces in px. face_type: how much of the head they cover; None where nobody says. iteration:
    how far it was trained; None where nobody says. dtype: what it computes in, such as "float32". has_morph: whether it
    mixes the two people (AMP). can_swap: False for the mask network, which leaves faces as they are. averaged: whether
    its weights are the slow average of the trained ones.
    """

    model_class: str
    size: int
    face_type: FaceType | None = None
    iteration: int | None = None
    dtype: str = "float32"
    device: str = "cpu"
    has_morph: bool = False
    can_swap: bool = True
    averaged: bool = False


class Predictor:
    """Redraws dst faces as src. May be used by several threads at once.

    size, face_type, iteration, model_class, dtype, device, has_morph, can_swap, averaged: see
    `Drawn`.
    """

    def __init__(self, draw: Draw, facts: Drawn) -> None:
        self._draw = draw
        self.model_class = facts.model_class
        self.size = facts.size
        self.face_type = facts.face_type
        self.iteration = facts.iteration
        self.dtype = facts.dtype
        self.device = facts.device
        self.has_morph = facts.has_morph
        self.can_swap = facts.can_swap
        self.averaged = facts.averaged

    def __repr__(self) -> str:
        return f"<Predictor {self.model_class}, {self.size} px, {self.dtype} on {self.device}>"

    def predict(self, faces: NDArray[np.floating], morph: float | None = None) -> Prediction:
        """Redraw faces (B,S,S,3), or one face (S,S,3), RGB in 0..1 of any float type.

        Any number of them: they go through the network in blocks. Which faces share a block changes a value by no more
        than its rounding (1e-5 in float32). morph: how much of src an AMP model draws, 0 (dst) to 1 (src, the default),
        clipped to that. A mask network gives the faces back as they are, and its mask as both masks.

        Raises UsageError for another shape, type or range, and for a morph factor where there is none.
        """
        given = self._checked(faces)
        share = self._checked_morph(morph)
        one = given.ndim == 3
        batch = given[None] if one else given
        step = max(1, min(AT_ONCE, AT_ONCE * AT_ONCE_PX**2 // self.size**2))
        parts = [self._draw(batch[start : start + step], share) for start in range(0, len(batch), step)]
        if not parts:
            parts = [_nothing(self.size)]
        face, mask, mask_dst = (
            column[0] if len(column) == 1 else np.concatenate(column) for column in zip(*parts, strict=True)
        )
        return Prediction(face[0], mask[0], mask_dst[0]) if one else Prediction(face, mask, mask_dst)

    def _checked(self, faces: NDArray[np.floating]) -> Floats:
        if not isinstance(faces, np.ndarray) or faces.dtype.kind != "f":
            kind = faces.dtype if isinstance(faces, np.ndarray) else type(faces).__name__
            raise UsageError(
                f"Faces are NumPy arrays of floats in 0..1; these are {kind}.",
                hint="Turn 8-bit pictures into them with: faces.astype(numpy.float32) / 255",
            )
        size = self.size
        if faces.ndim not in (3, 4) or faces.shape[-3:] != (size, size, 3):
            raise UsageError(
                f"Faces of the shape (B,{size},{size},3) or ({size},{size},3) are needed, not {faces.shape}.",
                hint=f"This model draws faces of {size} px: resize them to that, three colours last.",
            )
        if faces.size:
            least, most = float(faces.min()), float(faces.max())
            if not (least >= -OVERSHOOT and most <= 1 + OVERSHOOT):
                raise UsageError(
                    f"Faces have values in 0..1; these lie between {least:.3g} and {most:.3g}.",
                    hint="Divide by 255 what was 0..255; add 1 and halve what was -1..1.",
                )
        return np.ascontiguousarray(faces, np.float32)

    def _checked_morph(self, morph: float | None) -> float | None:
        if morph is None:
            return None
        if not self.has_morph:
            raise UsageError(
                f"A model of the class {self.model_class} has no morph factor: it always draws src.",
                hint="Only AMP models mix the two people.",
            )
        if math.isnan(morph):
            raise UsageError("The morph factor is no number.", hint="Choose one from 0 (dst) to 1 (src).")
        return min(1.0, max(0.0, float(morph)))


def _nothing(size: int) -> tuple[Floats, Floats, Floats]:
    """What comes of no faces at all."""
    empty = np.zeros((0, size, size), np.float32)
    return np.zeros((0, size, size, 3), np.float32), empty, empty
