"""How the faces that a network sees are drawn and varied."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import field_validator

from understudy.options import Options, option


class ColourMode(StrEnum):
    """How src faces get the colours of dst ones."""

    NONE = "none"
    RCT = "rct"
    LCT = "lct"
    MKL = "mkl"
    IDT = "idt"
    SOT = "sot"


ALL_PERSONS = "all"
"""What is typed for `persons` to have everybody again."""


class SampleOptions(Options):
    """Order and augmentation of the samples."""

    random_src_flip: bool = option(
        False,
        "Mirror src faces at random. For a src faceset that lacks one side of the face; unlikeness of the sides goes.",
        group="Samples",
        live=True,
    )
    random_dst_flip: bool = option(
        True,
        "Mirror dst faces at random; helps a network to generalise. quick96 begins without.",
        group="Samples",
        live=True,
    )
    uniform_yaw: bool = option(
        False,
        "Show faces that look every way equally often, however many there are of each. For profiles that stay soft.",
        group="Samples",
        live=True,
    )
    ct_mode: ColourMode = option(
        ColourMode.NONE,
        "Give each src face the colours of a dst face drawn at random, so that the swap has the light of the dst "
        "footage. rct is the usual choice; lct and mkl follow tints more closely, idt and sot go further. saehd, amp.",
        group="Samples",
        live=True,
    )
    random_hsv_power: float = option(
        0.0,
        "Shift hue, saturation and light of src faces at random, so that the network does not mind the light of the "
        "src footage: 0.05 is enough. saehd.",
        group="Samples",
        ge=0.0,
        le=0.3,
        live=True,
    )
    random_warp: bool = option(
        True,
        "Bend the faces that the network sees, which teaches it more than the footage shows. Without it a network "
        "learns its own footage sooner and other light and expressions worse: for the end, or for a quick look.",
        group="Samples",
        live=True,
    )
    random_transform: float = option(
        1.0,
        "How far faces are turned, moved and resized at random, as a share of the full ranges (10 degrees, 5 %).",
        group="Samples",
        unit="share",
        ge=0.0,
        le=1.0,
        live=True,
    )
    persons: tuple[str, ...] = option(
        (),
        "Persons of a src faceset of several people that are trained on, parted by commas: the names of its "
        "sub-folders or groups. Not given: all; the word all brings them back.",
        group="Samples",
    )
    persons_equally: bool = option(
        False,
        "Show each person of a faceset of several people equally often, not each face.",
        group="Samples",
        live=True,
    )
    replay: float = option(
        0.0,
        "Share of each batch that is drawn from the tenth of the faces with the highest recent loss: for faces that "
        "stay bad because they are rare. Wrong faces are shown more often too: sort them out first.",
        group="Samples",
        unit="share of the batch",
        ge=0.0,
        le=0.5,
        live=True,
    )

    @field_validator("persons", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """Names parted by commas, in one text or in several."""
        texts = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else None
        if texts is None or not all(isinstance(text, str) for text in texts):
            return value
        names = tuple(dict.fromkeys(name.strip() for text in texts for name in text.split(",") if name.strip()))
        return () if names == (ALL_PERSONS,) else names
