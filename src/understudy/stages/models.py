"""Models by name: ours, the reference's flat files, imported by the first command that names them, and `.dfm` files.

    model/hello/                ours
    model/new_SAEHD_*           flat files of the reference: the model new of the class SAEHD
    model/new_SAEHD_model.dfm   a network that live tools load: new_SAEHD_model of the class DFM

Everything here only reads, but for `open_model`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from understudy.errors import IncompatibleModel, MissingModel, UsageError
from understudy.facesets.changes import recover
from understudy.interop.dfm_head import read_dfm_head
from understudy.interop.flat import FlatModel, find_flat_model, find_flat_models
from understudy.interop.flat_head import missing_files, read_flat_head
from understudy.interop.flat_names import DATA
from understudy.networks.dfm import DFM_SUFFIX, DfmMetadata
from understudy.records import FaceType
from understudy.report import Report, silent
from understudy.stages.flat_import import import_flat
from understudy.training.saved import models
from understudy.training.saved.models import ModelSummary, is_model
from understudy.workspace import Workspace

RESERVED_NAMES = frozenset({"XSeg"})
"""Folders of `model/` that are no swapper's: the mask network."""

DFM = "DFM"
"""The class under which `.dfm` files are listed."""


def list_models(workspace: Workspace) -> list[ModelSummary]:
    """Every model of the workspace, the one trained last first: ours, flat files not yet imported, `.dfm` files.

    Broken ones are listed too, with the reason in `problem`.
    """
    ours = models.list_models(workspace.models)
    known = {(model.name, model.model_class) for model in ours}
    flat = [model for model in find_flat_models(workspace.models) if (model.name, model.model_class) not in known]
    found = [*ours, *map(flat_summary, flat), *map(dfm_summary, dfm_files(workspace.models))]
    return sorted(found, key=lambda model: model.updated, reverse=True)


def find_model(workspace: Workspace, name: str, model_class: str = "") -> ModelSummary:
    """The model of that name, or of that name and class (`new_SAEHD`): ours before flat files before a `.dfm`.

    Raises MissingModel naming those that there are, IncompatibleModel where that name is a model's of another class,
    UsageError where flat models of two classes share the name, and for a name that cannot be one.
    """
    workspace.model(name)
    every = list_models(workspace)
    called = [model for model in every if name == model.name] or [model for model in every if name == _full_name(model)]
    found = [model for model in called if not model_class or model.model_class.lower() == model_class.lower()]
    if not found and called:
        raise IncompatibleModel(
            f"{name} is of the class {called[0].model_class}, not {model_class}.",
            hint=f"Ask for its own class: --model {called[0].model_class.lower()}",
            name=name,
        )
    if not found:
        raise no_such_model(workspace, name, every)
    first = min(found, key=_rank)
    rivals = [model for model in found if _rank(model) == _rank(first)]
    if len(rivals) > 1:
        classes = ", ".join(sorted(model.model_class for model in rivals))
        raise UsageError(
            f"There are {len(rivals)} models called {name}, of the classes {classes}.",
            hint=f"Say which one with --model, such as: --model {rivals[0].model_class.lower()}",
            name=name,
        )
    return first


def no_such_model(workspace: Workspace, name: str, every: Sequence[ModelSummary]) -> MissingModel:
    """The error for a name that no model has."""
    known = ", ".join(dict.fromkeys(model.name for model in every))
    return MissingModel(
        f"There is no model {name} in this workspace.",
        hint=f"There are: {known}." if known else f"Make one with: understudy train {name}",
        folder=workspace.models,
    )


def open_model(workspace: Workspace, name: str, *, report: Report = silent) -> Path:
    """The folder of the model `name`; flat files of that name are imported into it first, and left as they are.

    Raises MissingModel naming those that there are, IncompatibleModel for flat files of a class that cannot be
    imported yet, UsageError for a name that cannot be one.
    """
    folder = workspace.model(name)
    if is_model(folder):
        return folder
    with workspace.writing(f"model-{name}"):
        recover_flat(workspace)
        return _imported(workspace, folder, report)


def recover_flat(workspace: Workspace) -> None:
    """Finish what a killed process left half done with flat files. Usually there is nothing to do."""
    journals = flat_journals(workspace)
    if journals.is_dir():
        with workspace.writing("models"):
            recover(journals)


def flat_journals(workspace: Workspace) -> Path:
    """Where moves of flat files and `.dfm` files are written down."""
    return workspace.private / "changes" / "models"


def dfm_files(folder: Path) -> list[Path]:
    """The `.dfm` files of a folder, by name."""
    if not folder.is_dir():
        return []
    found = (path for path in folder.iterdir() if path.suffix.lower() == DFM_SUFFIX and not path.name.startswith("."))
    return sorted(path for path in found if path.is_file())


def flat_summary(flat: FlatModel) -> ModelSummary:
    """The line of a list for flat files; of `data.dat` only the beginning is read."""
    head = read_flat_head(flat.folder / f"{flat.prefix}{DATA}")
    problem = head.problem
    missing = [] if problem else missing_files(flat, head)
    if missing:
        problem = f"Weight files are missing: {', '.join(missing)}."
    resolution = head.options.get("resolution", {"Quick96": 96, "XSeg": 256}.get(flat.model_class))
    return ModelSummary(
        flat.name,
        flat.model_class,
        flat.iteration if head.iteration is None else head.iteration,
        flat.updated,
        flat.size_bytes,
        ours=False,
        folder=flat.folder,
        archi=str(head.options.get("archi", "")) if flat.model_class == "SAEHD" else "",
        resolution=resolution if isinstance(resolution, int) else None,
        face_type=_face_type(head.options.get("face_type", "f" if flat.model_class == "Quick96" else "")),
        pretraining=head.options.get("pretrain") is True,
        problem=problem,
        format="flat",
    )


def dfm_summary(path: Path) -> ModelSummary:
    """The line of a list for a `.dfm` file; its weights are not read."""
    head, stat = read_dfm_head(path), path.stat()
    known = DfmMetadata.of(head.metadata, path)
    return ModelSummary(
        path.stem,
        DFM,
        known.iteration,
        datetime.fromtimestamp(stat.st_mtime, UTC),
        stat.st_size,
        ours=False,
        folder=path.parent,
        archi=known.archi or "",
        resolution=head.resolution,
        face_type=str(known.face_type or ""),
        problem=head.problem,
        format="dfm",
    )


def flat_of(model: ModelSummary) -> FlatModel:
    """The flat files behind a line of the list. Raises MissingModel where they have gone since."""
    for flat in find_flat_models(model.folder):
        if (flat.name, flat.model_class) == (model.name, model.model_class):
            return flat
    raise MissingModel(f"The files of the model {model.name} are no longer there.", folder=model.folder)


def dfm_path(model: ModelSummary) -> Path:
    """The file behind a line of the list."""
    return next(
        (path for path in dfm_files(model.folder) if path.stem == model.name), model.folder / f"{model.name}.dfm"
    )


def _imported(workspace: Workspace, folder: Path, report: Report) -> Path:
    flat = find_flat_model(workspace.models, folder.name)
    if flat is None:
        every = list_models(workspace)
        if any(model.format == "dfm" and model.name == folder.name for model in every):
            raise MissingModel(
                f"{folder.name} is a .dfm file, which can draw faces and do nothing else.",
                hint=f"Draw with it: understudy merge {folder.name}",
                folder=workspace.models,
            )
        raise no_such_model(workspace, folder.name, every)
    import_flat(folder, flat, report=report)
    return folder


def _rank(model: ModelSummary) -> int:
    return ("understudy", "flat", "dfm").index(model.format)


def _full_name(model: ModelSummary) -> str:
    """What else people call it: `new_SAEHD`, as the reference does, or `new_SAEHD_model.dfm`, as it is on the disk."""
    return f"{model.name}.dfm" if model.format == "dfm" else f"{model.name}_{model.model_class}"


def _face_type(short: object) -> str:
    """The long name of a face type such as "wf"; the name itself where it is none."""
    try:
        return str(FaceType(str(short)))
    except ValueError:
        return str(short)
