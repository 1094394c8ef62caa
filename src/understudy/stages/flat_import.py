"""One model of the reference brought in: flat files become a folder of ours, and stay as they are.

    DIR/new_SAEHD_*    →    FOLDER/     model.json, checkpoints/, history.jsonl, reference/ (for the way back)
    …_autobackups/01   →    FOLDER/backups/, when asked for

A model appears by one rename, whole; whatever stops an import leaves nothing behind that anybody sees.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import DiskFull, Interrupted, ModelError, UnsafeFile
from understudy.interop.flat import FlatModel, find_backups, find_flat_models, flat_models_named
from understudy.records import CODE_DISCRIMINATOR, GAN
from understudy.report import Note, Pace, Report, Stop, never, silent

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
    discriminators: list[str]
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
                f"{done.backups_found} backup{'' if done.backups_found == 1 else 's'} in {flat.prefix}autobackups "
                "stayed there; --backups brings them in too.",
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


def import_unprefixed(folder: Path, pretrained: Path, model_class: str, *, report: Report = silent) -> None:
    """Make the model `folder` with the weights of a folder of pretrained files without a prefix, at iteration 0."""
    from understudy.interop.flat_reading import read_flat_model, unprefixed_model

    with read_flat_model(unprefixed_model(pretrained, model_class)) as opened:
        for note in opened.notes:
            report(Note(note, "warning", pretrained.name))
        _adopt(folder, opened)
    report(Note(f"{folder.name} starts from the pretrained weights in {pretrained}."))


def _import_once(
    folder: Path, flat: FlatModel, without: Mapping[str, str], with_backups: bool, report: Report, stop: Stop
) -> Imported:
    """One try. Raises UnusablePart when a part that only training needs turns out to be bad while it is read."""
    from understudy.interop import reference_record
    from understudy.interop.flat_reading import read_flat_model

    backups = find_backups(flat)
    brought = 0
    left: list[str] = []
    with read_flat_model(flat, without=without) as opened:
        _require_room(folder, opened.size_bytes + sum(backup.size_bytes for backup in backups if with_backups))
        _watch(opened, f"Importing {folder.name}", report, stop)

        def beside(temp: Path) -> None:
            nonlocal brought
            reference_record.write(temp, opened.record)
            for backup in backups if with_backups else ():
                brought += _adopt_backup(temp, backup, opened, left, report, stop)

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
            [*opened.notes, *left],
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
    from understudy.training.saved.new import adopt_model

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


def _adopt_backup(
    temp: Path, backup: FlatModel, model: OpenedModel, left: list[str], report: Report, stop: Stop
) -> int:
    """Bring one backup in, as 1; 0, with a sentence in `left`, when it cannot be one of this model."""
    from understudy.interop.flat_files import UnusablePart
    from understudy.interop.flat_reading import read_flat_model
    from understudy.training.saved.checkpoints import CheckpointStore

    where = f"{backup.folder.parent.name}/{backup.folder.name}"
    without: dict[str, str] = {}
    while True:
        try:
            with read_flat_model(backup, without=without) as opened:
                why = _not_a_backup(temp, opened, model)
                if why:
                    left.append(f"The backup {where} was not brought over: {why}.")
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
            left.append(f"The backup {where} was not brought over: {error.message}")
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
