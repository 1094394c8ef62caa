"""Every stage that a recipe can have, under the name of its command: "faceset extract", "merge".

A recipe's keys are the command's arguments and flags; their types are declared once, in the options models. Imports
neither torch nor cv2, so that a recipe is judged before anything heavy loads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from understudy.curation.person_options import PersonsAction
from understudy.options import Options
from understudy.records import FootageFrom, Side, WeightsChoice

TRAIN = "train"
"""The one stage that a recipe takes apart, into phases."""

REQUIRED: Any = object()


@dataclass(frozen=True)
class Argument:
    """What a stage wants beside its options. parameter: its name in the function, where that differs."""

    kind: Any
    default: Any = REQUIRED
    parameter: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage. target: "module:function" in understudy.stages. model: "module:class" of its options in understudy.

    title: what a step is called, with its arguments. in_workspace: whether the function's first argument is one.
    """

    target: str
    title: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)
    model: str = ""
    in_workspace: bool = True

    @cached_property
    def options(self) -> type[Options] | None:
        """The options model; None for a stage that has none."""
        return _load(self.model) if self.model else None

    @cached_property
    def function(self) -> Callable[..., Any]:
        """The stage function itself; importing it may load PyTorch."""
        found: Callable[..., Any] = _load(f"stages.{self.target}")
        return found

    @property
    def names(self) -> list[str]:
        """Every key that a step of this stage may have, as one types it."""
        fields = self.options.model_fields if self.options else {}
        return [*self.arguments, *(name.rstrip("_") for name in fields)]


_SIDE = {"side": Argument(Side)}
_NAME = {"name": Argument(str)}

STAGES: dict[str, Stage] = {
    "video cut": Stage(
        "cut_video:cut_video",
        "Cut of {file}",
        {"file": Argument(Path, parameter="path")},
        "media.options:CutOptions",
        in_workspace=False,
    ),
    "video frames": Stage("extract_frames:extract_frames", "Frames of {side}", _SIDE, "media.options:FramesOptions"),
    "video denoise": Stage("denoise:denoise", "Denoising {side}", _SIDE, "media.options:DenoiseOptions"),
    "video shots": Stage(
        "shots:find_shots",
        "Shots of {side}",
        {
            **_SIDE,
            "from": Argument(FootageFrom | None, None, "prefer"),
            "again": Argument(bool, False),
        },
    ),
    "video encode": Stage("encode:encode", "Encoding", {}, "media.options:EncodeOptions"),
    "faceset extract": Stage("extract:extract", "Faces of {side}", _SIDE, "detection.options:ExtractOptions"),
    "faceset review": Stage(
        "review:review",
        "Review of {side}",
        {**_SIDE, "accept": Argument(list[str], ()), "sheet": Argument(int, 0)},
    ),
    "faceset realign": Stage(
        "realign:realign",
        "Realigning {side}",
        {**_SIDE, "frame": Argument(str, "")},
        "detection.realign_options:RealignOptions",
    ),
    "faceset persons": Stage(
        "persons:persons",
        "Persons of {side}: {action}",
        {**_SIDE, "action": Argument(PersonsAction, PersonsAction.LIST), "names": Argument(list[str], ())},
        "curation.person_options:PersonsOptions",
    ),
    "faceset sort": Stage("sort:sort", "Sorting {side}", _SIDE, "curation.sort_options:SortOptions"),
    "faceset dedupe": Stage("dedupe:dedupe", "Duplicates of {side}", _SIDE, "curation.person_options:DedupeOptions"),
    "faceset trash": Stage(
        "trash:trash",
        "Trash of {side}",
        {**_SIDE, "where": Argument(list[str] | str), "dry_run": Argument(bool, False)},
    ),
    "faceset coverage": Stage(
        "coverage:coverage",
        "Coverage of {against}",
        {
            "side": Argument(Side, Side.SRC),
            "against": Argument(Side, Side.DST),
            "picture": Argument(bool, True),
            "workers": Argument(int, 0),
        },
    ),
    "faceset enhance": Stage("enhance:enhance", "Enhancing {side}", _SIDE, "stages.enhance_options:EnhanceOptions"),
    "faceset info": Stage("faceset_info:faceset_info", "Faceset {side}", _SIDE),
    "faceset pack": Stage("pack:pack", "Packing {side}", _SIDE, "facesets.options:PackOptions"),
    "faceset unpack": Stage("unpack:unpack", "Unpacking {side}", _SIDE, "facesets.options:UnpackOptions"),
    "faceset resize": Stage("resize:resize", "Resizing {side}", _SIDE, "facesets.options:ResizeOptions"),
    "faceset restore-names": Stage(
        "names:restore_names", "Names of {side}", {**_SIDE, "dry_run": Argument(bool, False)}
    ),
    "faceset save-meta": Stage("meta_backup:save_meta", "Data of {side}, saved", _SIDE),
    "faceset restore-meta": Stage("meta_backup:restore_meta", "Data of {side}, restored", _SIDE),
    "faceset draw-landmarks": Stage(
        "draw_landmarks:draw_landmarks", "Landmarks of {side}", _SIDE, "facesets.options:DrawLandmarksOptions"
    ),
    "faceset export-masks": Stage(
        "export_masks:export_masks", "Masks of {side}", _SIDE, "facesets.options:ExportMasksOptions"
    ),
    "faceset import-png": Stage(
        "import_png:import_png", "PNG faces of {side}", _SIDE, "facesets.options:ImportPngOptions"
    ),
    "xseg train": Stage(
        "train_xseg:train_xseg",
        "Training of {name}",
        {"name": Argument(str, "XSeg")},
        "training.options.xseg:XSegTrainOptions",
    ),
    TRAIN: Stage("train:train", "Training of {name}", _NAME, "training.options:TrainOptions"),
    "model copy": Stage(
        "model_copy:copy_model",
        "Copy of {old}: {new}",
        {
            "old": Argument(str),
            "new": Argument(str),
            "fresh": Argument(bool, False),
            "model": Argument(str, "", "model_class"),
        },
    ),
    "model rename": Stage(
        "model_manage:rename_model",
        "{old} becomes {new}",
        {"old": Argument(str), "new": Argument(str), "model": Argument(str, "", "model_class")},
    ),
    "model delete": Stage(
        "model_manage:delete_model", "{name} into the trash", {**_NAME, "model": Argument(str, "", "model_class")}
    ),
    "model import": Stage(
        "model_import:import_models",
        "Models of {folder}",
        {"folder": Argument(Path)},
        "interop.import_options:ModelImportOptions",
    ),
    "model export-dfl": Stage(
        "export_dfl:export_dfl",
        "Export of {name} for DeepFaceLab",
        {
            **_NAME,
            "output": Argument(Path | None, None),
            "as": Argument(str | None, None, "as_name"),
            "weights": Argument(WeightsChoice, WeightsChoice.AUTO),
            "replace": Argument(bool, False),
        },
    ),
    "model export-dfm": Stage(
        "export_dfm:export_dfm", "Export of {name} as .dfm", _NAME, "interop.dfm_options:DfmOptions"
    ),
    "merge": Stage("merge:merge", "Merge with {name}", _NAME, "compositing.options:MergeOptions"),
}


def _load(target: str) -> Any:
    module, _, name = target.partition(":")
    return getattr(importlib.import_module(f"understudy.{module}"), name)
