"""Bring models of the reference in: flat files become folders of ours beside them, and stay as they are.

    DIR/new_SAEHD_*    →    model/new/     model.json, checkpoints/, history.jsonl, reference/ (for the way back)
    DIR/XSeg_*         →    model/XSeg/
    …_autobackups/01   →    backups/, when asked for

A model appears by one rename, whole; whatever stops an import leaves nothing behind that anybody sees.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import (
    DiskFull,
    Interrupted,
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
from understudy.records import CODE_DISCRIMINATOR, GAN, Skipped
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.stages.result import StageResult
from understudy.training.models import is_model
from understudy.workspace import Workspace

if TYPE_CHECKING:
    from understudy.interop.flat_reading import OpenedModel

MEGABYTE = 10**6


@dataclass(frozen=True)
class Imported:
    """What came of one import. unused: files that stayed behind; notes: what else could not be taken as it is."""

    name: str
    model_class: str
    iteration: int
    folder: Path
    optimiser: str | None
    judges: list[str]
    losses: int
    preview_sample: bool
    backups: int = 0
    backups_found: int = 0
    unused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain values, by the names that `--json` shows."""
        body = {key: value for key, value in vars(self).items() if key != "model_class"}
        return {"name": self.name, "class": self.model_class, **body, "folder": str(self.folder)}


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
            target = workspace.model(flat.name if options.as_ is None else options.as_)
            done.append(_bring_in(workspace, target, flat, options, report, stop))
        except (ModelError, UnsafeFile, UsageError) as error:
            if not options.all:
                raise
            first_error = first_error or error
            skipped.append(Skipped(flat.full_name, error.message))
            report(Note(f"Skipped {flat.full_name}: {error.message}", "warning", flat.full_name))
    if first_error is not None and not done:
        raise first_error
    return StageResult(
        skipped=skipped,
        seconds=time.perf_counter() - started,
        outputs=[model.folder for model in done],
        notes={"models": [model.as_json() for model in done]},
    )


def import_flat(
    folder: Path,
    flat: FlatModel,
    *,
    backups: bool = False,
    report: Report = silent,
    stop: Stop = never,
) -> Imported:
    """Make the model `folder` from flat files, which stay as they are. For the holder of the model's lock.

    Raises MissingModel, IncompatibleModel and UnsafeFile naming the file at fault, UsageError when the place is taken.
    """
    from understudy.interop.flat_files import UnusablePart

    without: dict[str, str] = {}
    while True:
        try:
            done = _import_once(folder, flat, without, backups, report, stop)
            break
        except UnusablePart as found:
            without[found.part] = found.why
    for note in [*done.notes, *_namesakes(flat)]:
        report(Note(note, "warning", folder.name))
    if done.unused:
        report(Note(f"Not brought over, and left where they are: {', '.join(done.unused)}.", item=folder.name))
    if done.backups_found and not backups:
        report(
            Note(
                f"There are {done.backups_found} backups in {flat.prefix}autobackups, which were not brought over; "
                "--backups does.",
                item=folder.name,
            )
        )
    report(
        Note(
            f"Imported the model {flat.name} ({flat.model_class}, iteration {done.iteration}) into "
            f"{folder.parent.name}/{folder.name}/; the files {flat.prefix}* are left as they are.",
            item=folder.name,
        )
    )
    return done


def _namesakes(flat: FlatModel) -> list[str]:
    """A sentence for each model of another class that has the same name."""
    others = flat_models_named(find_flat_models(flat.folder), flat.name) if flat.name else []
    return [
        f"There is another model of that name, {other.full_name}; bring it in with: "
        f"understudy model import {flat.folder} --name {other.full_name} --as NEW"
        for other in others
        if other.model_class != flat.model_class
    ]


def start_from_pretrained(folder: Path, pretrained: Path, model_class: str, *, report: Report = silent) -> None:
    """Make the model `folder` with the weights of a folder of pretrained files without a prefix, at iteration 0."""
    from understudy.interop.flat_reading import read_flat_model, unprefixed_model

    with read_flat_model(unprefixed_model(pretrained, model_class)) as opened:
        for note in opened.notes:
            report(Note(note, "warning", pretrained.name))
        _adopt(folder, opened)
    report(Note(f"{folder.name} starts from the pretrained weights in {pretrained}."))


# -- which


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
                f"understudy model delete {target.name}",
                folder=target,
            )
        return import_flat(target, flat, backups=options.backups, report=report, stop=stop)


# -- one model


def _import_once(
    folder: Path, flat: FlatModel, without: Mapping[str, str], with_backups: bool, report: Report, stop: Stop
) -> Imported:
    """One try. Raises UnusablePart when a part that only training needs turns out to be bad while it is read."""
    from understudy.interop import reference_record
    from understudy.interop.flat_reading import read_flat_model

    backups = find_backups(flat)
    brought = 0
    with read_flat_model(flat, without=without) as opened:
        _require_room(folder, opened.size_bytes + sum(backup.size_bytes for backup in backups if with_backups))
        _watch(opened, f"Importing {folder.name}", report, stop)

        def beside(temp: Path) -> None:
            nonlocal brought
            reference_record.write(temp, opened.record)
            for backup in backups if with_backups else ():
                brought += _adopt_backup(temp, backup, opened, report, stop)

        _adopt(folder, opened, beside=beside, imported_from=f"{flat.prefix}*")
        heads = {name.partition(".")[0] for name in opened.weights.kinds}
        return Imported(
            folder.name,
            flat.model_class,
            opened.iteration,
            folder,
            opened.optimiser_kind,
            [name for name in (GAN, CODE_DISCRIMINATOR) if name in heads],
            len(opened.losses),
            opened.record.sample_for_preview is not None,
            brought,
            len(backups),
            opened.unused,
            opened.notes,
        )


def _require_room(folder: Path, needed: int) -> None:
    """Raise DiskFull before anything is written where it cannot all be."""
    there = next(path for path in folder.parents if path.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise DiskFull(
            f"The model {folder.name} takes {needed / MEGABYTE:.0f} MB; the disk has {free / MEGABYTE:.0f} MB free.",
            hint=f"Make room on the disk of {there}, then run the same command again.",
            path=there,
        )


def _adopt(folder: Path, opened: OpenedModel, **more: Any) -> None:
    from understudy.interop.reference_record import loss_names
    from understudy.training.new import adopt_model

    flat = opened.flat
    came = f"Imported from {flat.prefix}* of DeepFaceLab at iteration {opened.iteration}."
    adopt_model(
        folder,
        opened.net,
        flat.model_class,
        weights=opened.weights,
        optimiser=opened.optimiser,
        iteration=opened.iteration,
        losses=opened.losses,
        loss_names=loss_names(flat.model_class),
        options=opened.options,
        event=("imported", came) if flat.name else None,
        **more,
    )


def _adopt_backup(temp: Path, backup: FlatModel, model: OpenedModel, report: Report, stop: Stop) -> int:
    """Bring one backup in, as 1; 0, with a note, when it cannot be one of this model."""
    from understudy.interop.flat_files import UnusablePart
    from understudy.interop.flat_reading import read_flat_model
    from understudy.training.checkpoints import CheckpointStore

    where = f"{backup.folder.parent.name}/{backup.folder.name}"
    without: dict[str, str] = {}
    while True:
        try:
            with read_flat_model(backup, without=without) as opened:
                why = _not_a_backup(temp, opened, model)
                if why:
                    report(Note(f"The backup {where} was not brought over: {why}.", "warning", where))
                    return 0
                _watch(opened, f"Importing the backup {backup.folder.name}", report, stop)
                CheckpointStore(temp).adopt_backup(
                    opened.iteration,
                    weights=opened.weights,
                    optimiser=opened.optimiser,
                    state={"iteration": opened.iteration, "images": 0, "history": len(opened.losses)},
                )
                return 1
        except UnusablePart as found:
            without[found.part] = found.why
        except (ModelError, UnsafeFile) as error:
            report(Note(f"The backup {where} was not brought over: {error.message}", "warning", where))
            return 0


def _not_a_backup(temp: Path, backup: OpenedModel, model: OpenedModel) -> str:
    """Why a saved state cannot stand among the backups of the model; empty when it can."""
    if backup.config != model.config:
        return "it is of another architecture"
    if backup.iteration > model.iteration:
        return f"it is at iteration {backup.iteration}, later than the model, whose count was begun anew"
    if (temp / "backups" / f"{backup.iteration:09d}").is_dir():
        return f"another one is of the same iteration {backup.iteration}"
    return ""


def _watch(opened: OpenedModel, step: str, report: Report, stop: Stop) -> None:
    """Report what has been read of a model in megabytes, and end by Interrupted when asked to stop."""
    pace = Pace(step, -(-opened.size_bytes // MEGABYTE), report, unit="MB")
    read = 0

    def on_read(size: int) -> None:
        nonlocal read
        if stop():
            raise Interrupted(
                f"The import of {opened.flat.full_name} was stopped; nothing of it is left.",
                hint="Run the same command again.",
            )
        read += size
        pace.advance(-(-read // MEGABYTE) - pace.done)

    opened.weights.on_read = on_read
    if opened.optimiser is not None:
        opened.optimiser.on_read = on_read
