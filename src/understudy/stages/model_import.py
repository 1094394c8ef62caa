"""Bring models of the reference into the workspace: which of a folder's models, and under which names.

    DIR/new_SAEHD_*    →    model/new/
    DIR/XSeg_*         →    model/XSeg/

How one of them comes in: flat_import.py.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path

from understudy.errors import (
    MissingModel,
    ModelError,
    UnderstudyError,
    UnsafeFile,
    UsageError,
)
from understudy.interop.flat import (
    FlatModel,
    find_backups,
    find_flat_models,
    flat_models_named,
    headless_models,
)
from understudy.interop.flat_names import XSEG
from understudy.interop.import_options import ModelImportOptions
from understudy.records import Skipped
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.flat_import import Imported, import_flat
from understudy.stages.result import StageResult
from understudy.training.saved.models import is_model
from understudy.workspace import Workspace


def import_models(
    workspace: Workspace,
    folder: Path,
    options: ModelImportOptions = ModelImportOptions(),
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Bring models from a folder of the reference's files into the workspace; the files stay as they are.

    folder: may be the workspace's own `model/`, or a workspace of the reference. With several models in it the options
    say which. With `all` a model that cannot be brought in is skipped and named.
    Raises MissingModel, UsageError for an open choice or a name that is taken, IncompatibleModel and UnsafeFile naming
    file and tensor, DiskFull, ReadOnlyWorkspace, Busy, and Interrupted after `stop`.
    """
    started = time.perf_counter()
    folder, found = _models_in(Path(folder), report)
    if options.list:
        return _listed(folder, found, time.perf_counter() - started)
    chosen = _chosen(folder, found, options)
    done: list[Imported] = []
    skipped: list[Skipped] = []
    first_error: UnderstudyError | None = None
    for flat in chosen:
        try:
            if any(flat.name == other.name for other in chosen[: chosen.index(flat)]):
                raise UsageError(f"A newer model has the same name; bring it in with --name {flat.full_name} --as NEW")
            target = workspace.model(options.as_) if options.as_ is not None else _own_place(workspace, flat)
            done.append(_bring_in(workspace, target, flat, options, report, stop))
        except (ModelError, UnsafeFile, UsageError) as error:
            if not options.all:
                raise
            first_error = first_error or error
            skipped.append(Skipped(flat.full_name, error.message))
            report(Note(f"Skipped: {error.message}", "warning", flat.full_name))
    if first_error is not None and not done:
        raise first_error
    return StageResult(
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[model.folder for model in done],
        notes={"models": [model.as_json() for model in done]},
    )


def _models_in(folder: Path, report: Report) -> tuple[Path, list[FlatModel]]:
    """The folder that holds models, which may be `model/` of the one that was named, and the models, newest first."""
    try:
        if not folder.is_dir():
            what = "is a file" if folder.exists() else "does not exist"
            raise MissingModel(
                f"The folder to import from {what}.",
                hint="Name the folder that holds NAME_SAEHD_data.dat.",
                folder=folder,
            )
        if found := find_flat_models(folder):
            return folder, found
        inside = folder / "model"
        if found := find_flat_models(inside):
            report(Note(f"Reading the models in {inside}."))
            return inside, found
    except PermissionError as error:
        raise MissingModel(
            "The folder to import from cannot be read.", hint=f"Let this user read {folder}.", folder=folder
        ) from error
    raise _nothing_in(folder)


def _nothing_in(folder: Path) -> MissingModel:
    hint = "Such a folder holds files called NAME_SAEHD_data.dat, NAME_SAEHD_encoder.npy and so on."
    if is_model(folder):
        hint = "That is a model of understudy already: copy its folder into model/ of this workspace."
    elif headless := headless_models(folder):
        hint = f"There are weights of {', '.join(headless)}, but not its data.dat, which says how the network is built."
    elif (folder / "encoder.npy").is_file():
        hint = "These are pretrained weights without a name; start from them: understudy train NAME --pretrained DIR"
    return MissingModel("There is no model of DeepFaceLab in that folder.", hint=hint, folder=folder)


def _chosen(folder: Path, found: list[FlatModel], options: ModelImportOptions) -> list[FlatModel]:
    if options.all:
        return found
    named = found if options.name is None else flat_models_named(found, options.name)
    if not named:
        raise MissingModel(
            f"There is no model {options.name} in that folder.",
            hint=f"There are: {_line_of(found)}.",
            folder=folder,
        )
    if len(named) == 1:
        return named
    if options.name is not None:
        raise UsageError(
            f"There are {len(named)} models called {options.name}: {_line_of(named)}.",
            hint=f"Say which one: --name {named[0].full_name}",
            folder=folder,
        )
    raise UsageError(
        f"There are {len(named)} models in that folder: {_line_of(named)}.",
        hint="Choose one with --name NAME, or bring in --all.",
        folder=folder,
    )


def _line_of(models: list[FlatModel]) -> str:
    shared = [model.name for model in models]
    names = (model.full_name if shared.count(model.name) > 1 else model.name for model in models)
    facts = (f"{m.model_class}, iteration {'?' if m.iteration is None else m.iteration}" for m in models)
    return "; ".join(f"{name} ({fact})" for name, fact in zip(names, facts, strict=True))


def _listed(folder: Path, found: list[FlatModel], seconds: float) -> StageResult:
    models = [
        {
            "name": model.name,
            "class": model.model_class,
            "iteration": model.iteration,
            "updated": model.updated.isoformat(timespec="seconds"),
            "bytes": model.size_bytes,
            "backups": len(find_backups(model)),
        }
        for model in found
    ]
    skipped = [Skipped(name, "there is no data.dat of that name") for name in headless_models(folder)]
    return StageResult(skipped=skipped, seconds=seconds, notes={"found": models})


def _own_place(workspace: Workspace, flat: FlatModel) -> Path:
    """The place of a model that keeps its name. Raises UsageError for a name that no folder can have."""
    try:
        return workspace.model(flat.name)
    except UsageError as error:
        raise UsageError(error.message, hint="Give it another name with --as NEW.") from error


def _bring_in(
    workspace: Workspace, target: Path, flat: FlatModel, options: ModelImportOptions, report: Report, stop: Stop
) -> Imported:
    if target.name == XSEG and flat.model_class != XSEG:
        raise UsageError(
            f"{XSEG} is the name of the mask network, and this model is a {flat.model_class}.",
            hint="Give it another name with --as NEW.",
        )
    with workspace.writing(f"model-{target.name}"):
        if is_model(target):
            raise UsageError(
                f"There is a model {target.name} here already.",
                hint="Bring it in under another name with --as NEW, or move the old one away: "
                f"{shlex.join(['understudy', 'model', 'delete', target.name])}",
                folder=target,
            )
        return import_flat(target, flat, backups=options.backups, report=report, stop=stop)
