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
    from understudy.curation.person_options import DedupeOptions, PersonsAction, PersonsOptions
    from understudy.curation.sort_options import SortBy, SortOptions
    from understudy.detection.options import ExtractOptions
    from understudy.detection.realign_options import RealignOptions
    from understudy.errors import UnderstudyError
    from understudy.facesets.options import (
        DrawLandmarksOptions,
        ExportMasksOptions,
        ImportPngOptions,
        PackOptions,
        ResizeOptions,
        UnpackOptions,
    )
    from understudy.interop.dfm_options import DfmOptions
    from understudy.interop.import_options import ModelImportOptions
    from understudy.media.footage import open_footage, probe
    from understudy.media.options import CutOptions, DenoiseOptions, EncodeOptions, FramesOptions
    from understudy.recipe.options import RunOptions
    from understudy.recipe.running import run_recipe
    from understudy.recipe.scheduling import train_by_schedule
    from understudy.records import FaceType, FootageFrom, Rect, Side
    from understudy.stages.coverage import coverage
    from understudy.stages.cut_video import cut_video
    from understudy.stages.dedupe import dedupe
    from understudy.stages.denoise import denoise, undo_denoise
    from understudy.stages.draw_landmarks import draw_landmarks
    from understudy.stages.encode import encode
    from understudy.stages.engines import add_engine_files, fetch_engine, list_engines
    from understudy.stages.enhance import enhance
    from understudy.stages.enhance_options import EnhanceOptions
    from understudy.stages.export_dfl import export_dfl
    from understudy.stages.export_dfm import export_dfm
    from understudy.stages.export_masks import export_masks
    from understudy.stages.extract import extract
    from understudy.stages.extract_frames import extract_frames
    from understudy.stages.faceset_info import faceset_info
    from understudy.stages.find_lr import find_lr
    from understudy.stages.import_png import import_png
    from understudy.stages.init import init
    from understudy.stages.load_model import load_model
    from understudy.stages.merge import merge
    from understudy.stages.meta_backup import restore_meta, save_meta
    from understudy.stages.model_copy import copy_model
    from understudy.stages.model_evaluate import evaluate_model
    from understudy.stages.model_import import import_models
    from understudy.stages.model_manage import delete_model, rename_model, restore_model
    from understudy.stages.model_show import show_model
    from understudy.stages.models import list_models
    from understudy.stages.names import restore_names
    from understudy.stages.pack import pack
    from understudy.stages.persons import persons
    from understudy.stages.realign import realign
    from understudy.stages.resize import resize
    from understudy.stages.result import StageResult
    from understudy.stages.review import review
    from understudy.stages.shots import find_shots
    from understudy.stages.sort import sort
    from understudy.stages.status import status
    from understudy.stages.train import train
    from understudy.stages.train_xseg import train_xseg
    from understudy.stages.trash import trash
    from understudy.stages.undo import list_changes, undo
    from understudy.stages.unpack import unpack
    from understudy.training.options import TrainOptions
    from understudy.training.options.xseg import XSegTrainOptions
    from understudy.workspace import Workspace

__version__ = "2.0.0a1"

__all__ = [
    "CutOptions",
    "DedupeOptions",
    "DenoiseOptions",
    "DfmOptions",
    "DrawLandmarksOptions",
    "EncodeOptions",
    "EnhanceOptions",
    "ExportMasksOptions",
    "ExtractOptions",
    "FaceType",
    "FootageFrom",
    "FramesOptions",
    "ImportPngOptions",
    "MergeOptions",
    "ModelImportOptions",
    "PackOptions",
    "PersonsAction",
    "PersonsOptions",
    "RealignOptions",
    "Rect",
    "ResizeOptions",
    "RunOptions",
    "Side",
    "SortBy",
    "SortOptions",
    "StageResult",
    "TrainOptions",
    "UnderstudyError",
    "UnpackOptions",
    "Workspace",
    "XSegTrainOptions",
    "add_engine_files",
    "copy_model",
    "coverage",
    "cut_video",
    "dedupe",
    "delete_model",
    "denoise",
    "draw_landmarks",
    "encode",
    "enhance",
    "evaluate_model",
    "export_dfl",
    "export_dfm",
    "export_masks",
    "extract",
    "extract_frames",
    "faceset_info",
    "fetch_engine",
    "find_lr",
    "find_shots",
    "import_models",
    "import_png",
    "init",
    "list_changes",
    "list_engines",
    "list_models",
    "load_model",
    "merge",
    "open_footage",
    "pack",
    "persons",
    "probe",
    "realign",
    "rename_model",
    "resize",
    "restore_meta",
    "restore_model",
    "restore_names",
    "review",
    "run_recipe",
    "save_meta",
    "show_model",
    "sort",
    "status",
    "train",
    "train_by_schedule",
    "train_xseg",
    "trash",
    "undo",
    "undo_denoise",
    "unpack",
]

HOMES = {  # the module that defines each name
    "CutOptions": "media.options",
    "DedupeOptions": "curation.person_options",
    "DenoiseOptions": "media.options",
    "DfmOptions": "interop.dfm_options",
    "DrawLandmarksOptions": "facesets.options",
    "EncodeOptions": "media.options",
    "EnhanceOptions": "stages.enhance_options",
    "ExportMasksOptions": "facesets.options",
    "ExtractOptions": "detection.options",
    "FaceType": "records",
    "FootageFrom": "records",
    "FramesOptions": "media.options",
    "ImportPngOptions": "facesets.options",
    "MergeOptions": "compositing.options",
    "ModelImportOptions": "interop.import_options",
    "PackOptions": "facesets.options",
    "PersonsAction": "curation.person_options",
    "PersonsOptions": "curation.person_options",
    "RealignOptions": "detection.realign_options",
    "Rect": "records",
    "ResizeOptions": "facesets.options",
    "RunOptions": "recipe.options",
    "Side": "records",
    "SortBy": "curation.sort_options",
    "SortOptions": "curation.sort_options",
    "StageResult": "stages.result",
    "TrainOptions": "training.options",
    "UnderstudyError": "errors",
    "UnpackOptions": "facesets.options",
    "Workspace": "workspace",
    "XSegTrainOptions": "training.options.xseg",
    "add_engine_files": "stages.engines",
    "copy_model": "stages.model_copy",
    "coverage": "stages.coverage",
    "cut_video": "stages.cut_video",
    "dedupe": "stages.dedupe",
    "delete_model": "stages.model_manage",
    "denoise": "stages.denoise",
    "draw_landmarks": "stages.draw_landmarks",
    "encode": "stages.encode",
    "enhance": "stages.enhance",
    "evaluate_model": "stages.model_evaluate",
    "export_dfl": "stages.export_dfl",
    "export_dfm": "stages.export_dfm",
    "export_masks": "stages.export_masks",
    "extract": "stages.extract",
    "extract_frames": "stages.extract_frames",
    "faceset_info": "stages.faceset_info",
    "fetch_engine": "stages.engines",
    "find_lr": "stages.find_lr",
    "find_shots": "stages.shots",
    "import_models": "stages.model_import",
    "import_png": "stages.import_png",
    "init": "stages.init",
    "list_changes": "stages.undo",
    "list_engines": "stages.engines",
    "list_models": "stages.models",
    "load_model": "stages.load_model",
    "merge": "stages.merge",
    "open_footage": "media.footage",
    "pack": "stages.pack",
    "persons": "stages.persons",
    "probe": "media.footage",
    "realign": "stages.realign",
    "rename_model": "stages.model_manage",
    "resize": "stages.resize",
    "restore_meta": "stages.meta_backup",
    "restore_model": "stages.model_manage",
    "restore_names": "stages.names",
    "review": "stages.review",
    "run_recipe": "recipe.running",
    "save_meta": "stages.meta_backup",
    "show_model": "stages.model_show",
    "sort": "stages.sort",
    "status": "stages.status",
    "train": "stages.train",
    "train_by_schedule": "recipe.scheduling",
    "train_xseg": "stages.train_xseg",
    "trash": "stages.trash",
    "undo": "stages.undo",
    "undo_denoise": "stages.denoise",
    "unpack": "stages.unpack",
}


def __getattr__(name: str) -> Any:
    home = HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'understudy' has no attribute {name!r}")
    return getattr(importlib.import_module(f"understudy.{home}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
