"""Options of merging, by the names, ranges and units that users of the field know. Imports neither cv2 nor torch."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from understudy.media.options import VideoFormat
from understudy.options import Options, option
from understudy.records import FaceType, FootageFrom, PrecisionChoice, WeightsChoice


class MergeMode(StrEnum):
    """How the new face and the plate become one picture."""

    ORIGINAL = "original"
    OVERLAY = "overlay"
    RAW_RGB = "raw-rgb"


class MaskMode(StrEnum):
    """Which mask limits the new face. prd: drawn with the swapped face; dst: drawn with the dst face."""

    FULL = "full"
    DST = "dst"
    LEARNED_PRD = "learned-prd"
    LEARNED_DST = "learned-dst"
    LEARNED_PRD_TIMES_DST = "learned-prd*learned-dst"
    LEARNED_PRD_PLUS_DST = "learned-prd+learned-dst"


class ColorTransfer(StrEnum):
    """How the new face takes on the colours of the plate."""

    NONE = "none"
    RCT = "rct"
    LCT = "lct"
    MKL = "mkl"
    IDT = "idt"


class MergeOptions(Options):
    """How a redrawn face is laid back over the plate."""

    mode: MergeMode = option(
        MergeMode.OVERLAY,
        "original shows the plate, overlay lays the face inside its mask, raw-rgb lays the whole square.",
        group="Face",
        live=True,
    )
    output_face_scale: int = option(
        0, "Resize the new face about its centre; negative is larger.", group="Face", unit="%", ge=-50, le=50, live=True
    )
    morph_factor: float = option(
        1.0,
        "How much of src an AMP model draws: 0 is dst itself. Other models have no such choice.",
        group="Face",
        ge=0,
        le=1,
    )
    color_transfer_mode: ColorTransfer = option(
        ColorTransfer.RCT,
        "How the new face takes on the colours of the plate: rct matches light, contrast and tint, lct and mkl also "
        "how they go together, idt the whole distribution.",
        group="Face",
        live=True,
    )
    mask_mode: MaskMode = option(
        MaskMode.LEARNED_PRD_TIMES_DST,
        "Which mask limits the new face: the whole square, the hull of the dst landmarks, or what the model learned.",
        group="Mask",
        live=True,
    )
    erode_mask_modifier: int = option(
        0, "Shrink the mask; negative grows it.", group="Mask", unit="px of the 4x grid", ge=-400, le=400, live=True
    )
    blur_mask_modifier: int = option(
        0, "Feather of the mask edge.", group="Mask", unit="px of the 4x grid", ge=0, le=400, live=True
    )
    faithful: bool | None = option(
        None,
        "Keep DeepFaceLab's habits (docs/faithful.md). Not given: on for imported models, off for new ones.",
        group="Compatibility",
    )
    to_video: VideoFormat | None = option(
        None, "Write result.* at once, with no frames on disk. Begins anew after an interruption.", group="Output"
    )
    replace: bool = option(False, "Render every frame again, also those that are up to date.", group="Output")
    face_type: FaceType | None = option(
        None,
        "How much of the head the model's faces cover, as in h, mf, f, wf, head. Not given: what the model says, and "
        "whole face for a .dfm that says nothing.",
        group="Input",
    )
    checkpoint: str = option(
        "newest",
        "Which saved state of the model draws: newest, best (on the faces that training held out), or an iteration "
        "that is still kept.",
        group="Input",
    )
    from_: FootageFrom | None = option(
        None,
        "Read the dst frames from the video or from the folder; by default the folder wins if it has frames.",
        group="Input",
    )
    device: str = option("auto", "Where the network runs: auto, cpu, cuda:0, mps.", group="Machine")
    precision: PrecisionChoice = option(
        PrecisionChoice.FP32,
        "Arithmetic of the network. fp32 draws finest; bf16 and fp16 may be faster and differ a little; auto takes "
        "what suits this machine.",
        group="Machine",
    )
    weights: WeightsChoice = option(
        WeightsChoice.AUTO,
        "Which weights of the model to draw with: auto takes their slow average where training kept one (--ema-decay), "
        "trained the weights themselves.",
        group="Machine",
    )
    workers: int = option(0, "Threads that lay faces over frames; 0: one per core.", group="Machine", ge=0, le=256)

    @property
    def look(self) -> dict[str, Any]:
        """The settings that decide what a frame looks like, as plain JSON values."""
        return self.model_dump(mode="json", include=set(LOOK))

    @property
    def keeps_quirks(self) -> bool:
        """Whether the quirks are wanted; undecided counts as no. The stage decides by the model before it asks."""
        return bool(self.faithful)


LOOK = (
    "mode",
    "output_face_scale",
    "color_transfer_mode",
    "mask_mode",
    "erode_mask_modifier",
    "blur_mask_modifier",
    "faithful",
)
"""Names of the options that change pixels; the others only say where to read, write and compute.

`precision`, `face_type` and `morph_factor` change pixels too, but what they come to depends on machine and model: a
frame remembers that."""
