"""understudy: replace one performer's face with another's in footage.

    import understudy as us

    shot = us.Workspace.open("shot")
    us.merge(shot, "hello", us.MergeOptions(blur_mask_modifier=60))

The names below are the library's door; each is imported when it is first used, so that `import understudy` is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from understudy.compositing.options import MergeOptions
    from understudy.curation.sort_options import SortBy, SortOptions
    from understudy.detection.options import ExtractOptions
    from understudy.errors import UnderstudyError
    from understudy.media import open_footage, probe
    from understudy.media.options import EncodeOptions, FramesOptions
    from understudy.records import FaceType, Side
    from understudy.stages.encode import encode
    from understudy.stages.extract import extract
    from understudy.stages.extract_frames import extract_frames
    from understudy.stages.init import init
    from understudy.stages.merge import merge
    from understudy.stages.result import StageResult
    from understudy.stages.sort import sort
    from understudy.stages.status import status
    from understudy.stages.train import train
    from understudy.training.options import TrainOptions
    from understudy.workspace import Workspace

__version__ = "2.0.0a1"

__all__ = [
    "EncodeOptions",
    "ExtractOptions",
    "FaceType",
    "FramesOptions",
    "MergeOptions",
    "Side",
    "SortBy",
    "SortOptions",
    "StageResult",
    "TrainOptions",
    "UnderstudyError",
    "Workspace",
    "encode",
    "extract",
    "extract_frames",
    "init",
    "merge",
    "open_footage",
    "probe",
    "sort",
    "status",
    "train",
]

_HOMES = {
    "EncodeOptions": "media.options",
    "ExtractOptions": "detection.options",
    "FaceType": "records",
    "FramesOptions": "media.options",
    "MergeOptions": "compositing.options",
    "Side": "records",
    "SortBy": "curation.sort_options",
    "SortOptions": "curation.sort_options",
    "StageResult": "stages.result",
    "TrainOptions": "training.options",
    "UnderstudyError": "errors",
    "Workspace": "workspace",
    "encode": "stages.encode",
    "extract": "stages.extract",
    "extract_frames": "stages.extract_frames",
    "init": "stages.init",
    "merge": "stages.merge",
    "open_footage": "media",
    "probe": "media",
    "sort": "stages.sort",
    "status": "stages.status",
    "train": "stages.train",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'understudy' has no attribute {name!r}")
    return getattr(importlib.import_module(f"understudy.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
