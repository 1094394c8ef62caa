"""Footage in and out: frames with exact times and their source planes, videos, folders of frames, writers.

Names are loaded when first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.media.footage import FrameSource, open_footage, probe
    from understudy.media.frames import Frame, composite_onto
    from understudy.media.info import AudioTrack, ColourTags, FootageInfo, FootageKind
    from understudy.media.options import CutOptions, DenoiseOptions, EncodeOptions, FrameFormat, FramesOptions
    from understudy.media.writing import FrameFolderWriter, VideoWriter

__all__ = [
    "AudioTrack",
    "ColourTags",
    "CutOptions",
    "DenoiseOptions",
    "EncodeOptions",
    "FootageInfo",
    "FootageKind",
    "Frame",
    "FrameFolderWriter",
    "FrameFormat",
    "FrameSource",
    "FramesOptions",
    "VideoWriter",
    "composite_onto",
    "open_footage",
    "probe",
]

_HOMES = {
    "footage": ("FrameSource", "open_footage", "probe"),
    "frames": ("Frame", "composite_onto"),
    "info": ("AudioTrack", "ColourTags", "FootageInfo", "FootageKind"),
    "options": ("CutOptions", "DenoiseOptions", "EncodeOptions", "FrameFormat", "FramesOptions"),
    "writing": ("FrameFolderWriter", "VideoWriter"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"understudy.media.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
