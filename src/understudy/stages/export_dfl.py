"""Hand a model back to DeepFaceLab: its flat files, written so that it loads them and trains on.

model/NAME/ ─ newest saved state, options, losses, what was kept from the import ─► NAME_CLASS_… in model/ or DIR
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.errors import DiskFull, IncompatibleModel, Interrupted, UsageError
from understudy.files import os_errors
from understudy.interop import flat_writing, reference_options, reference_record
from understudy.interop.flat_writing import FlatFile, FlatFiles, prefix_of
from understudy.interop.reference_record import ReferenceRecord, loss_names
from understudy.networks.families import config_from_plain, family_for
from understudy.networks.patch_discriminator import fitting_patch_size
from understudy.report import Note, Pace, Report, Stop, never, silent
from understudy.stages.models import open_model
from understudy.stages.publishing import finish_publishing, publishing_set
from understudy.stages.result import StageResult
from understudy.training.checkpoints import CheckpointStore
from understudy.training.history import FILE_NAME as HISTORY_NAME
from understudy.training.history import History
from understudy.training.models import ModelRecord, read_record
from understudy.training.open_state import OpenState, OpenTensors, open_newest
from understudy.training.options import TrainOptions
from understudy.workspace import Workspace

Losses = NDArray[np.float64]

SPARE_BYTES = 1 << 20
"""What the small files may take beside the tensors."""


def export_dfl(
    workspace: Workspace,
    name: str,
    *,
    output: Path | None = None,
    as_name: str | None = None,
    replace: bool = False,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write the newest saved state of the model `name` as DeepFaceLab's flat files, all of them or none.

    output: the folder for them; None: the workspace's `model/`, where DeepFaceLab looks. as_name: what DeepFaceLab is
    to call the model. replace: whether files of a model of that name may move to the trash. A model that is being
    trained is exported as it was saved last, and goes on. The notes hold model, class, iteration, left_out (options and
    tensors that DeepFaceLab has no place for), and trash.
    Raises MissingModel, UsageError when files of that name are there, CorruptCheckpoint, IncompatibleModel,
    Interrupted, DiskFull, ReadOnlyWorkspace and Busy; nothing in the folder has changed then.
    """
    started = time.perf_counter()
    folder = open_model(workspace, name, report=report)
    record, kept = read_record(folder), reference_record.read(folder)
    target = Path(output).absolute() if output is not None else workspace.models
    with (
        workspace.writing(f"export-{name}"),
        open_newest(CheckpointStore(folder), report) as saved,
    ):
        export = _planned(name, record, kept, saved, as_name, report)
        finish_publishing(target, export.label)
        old = _old_files(target, export, replace)
        _require_room(target, export)
        trash = workspace.new_trash(f"export-dfl-{export.label}")
        with publishing_set(
            target, export.label, last=f"{export.prefix}data.dat", trash=trash, replacing=old
        ) as made:  # fmt: skip
            _write(made, export, _losses(folder, export), report, stop)
            names = sorted(path.name for path in made.iterdir())
    for message, level in export.notes:
        report(Note(message, level, name))  # type: ignore[arg-type]
    if old:
        report(Note(f"{len(old)} files that were there before are in {trash}."))
    return StageResult(
        seconds=time.perf_counter() - started,
        outputs=[target / file for file in names],
        notes={
            "model": name,
            "as": export.name,
            "class": export.model_class,
            "iteration": export.iteration,
            "left_out": export.left_out,
            **({"trash": str(trash)} if old else {}),
        },
    )


@dataclass(frozen=True, eq=False)
class Export:
    """Everything that is to be written, but for the tensors, which are still in `saved`."""

    model_class: str
    name: str
    iteration: int
    options: dict[Any, Any]
    networks: FlatFiles
    optimisers: FlatFiles
    saved: OpenState
    kept: ReferenceRecord | None
    left_out: list[str]
    notes: list[tuple[str, str]]

    @property
    def prefix(self) -> str:
        return prefix_of(self.model_class, self.name)

    @property
    def label(self) -> str:
        """The model as its summary calls it, and what its files are published under."""
        return self.prefix.removesuffix("_")


def _planned(
    name: str, record: ModelRecord, kept: ReferenceRecord | None, saved: OpenState, as_name: str | None, report: Report
) -> Export:
    """What the model becomes. Raises IncompatibleModel when its weights are not those of its config."""
    model_class = family_for(record.model_class).model_class
    _require_own_weights(record, saved)
    notes: list[tuple[str, str]] = []
    networks = flat_writing.network_files(model_class, saved.weights.shapes)
    moments = saved.optimiser.shapes if saved.optimiser else {}
    optimisers = flat_writing.optimiser_files(model_class, moments, networks.sources)
    options, left_out = _options(model_class, record, kept)
    if left_out:
        notes.append((f"Not of DeepFaceLab, and left out: {', '.join(left_out)}.", "info"))
    strange = sorted({name.split(".")[0] for name in (*networks.left, *optimisers.left)})
    if strange:
        notes.append(
            (f"DeepFaceLab has no place for these tensors, which are left out: {', '.join(strange)}.", "warning")
        )
        left_out += strange
    if not optimisers.files:
        notes.append(("There is no optimiser state that DeepFaceLab knows; it will begin with a fresh one.", "warning"))
    iteration = saved.iteration
    if iteration < 1:
        iteration = 1
        notes.append(
            ("The model was not trained yet; it is exported as iteration 1, since 0 would start it anew.", "info")
        )
    their_name = _their_name(name, model_class, kept, as_name, notes)
    return Export(model_class, their_name, iteration, options, networks, optimisers, saved, kept, left_out, notes)


def _require_own_weights(record: ModelRecord, saved: OpenState) -> None:
    """DeepFaceLab gives a network of other shapes random weights, without a word: refuse to write such files."""
    import torch

    family = family_for(record.model_class)
    config = config_from_plain(family, record.config)
    told = {option.ours for option in reference_options.known_options(family.model_class).values()}
    usual = family.config()
    for field in fields(config):
        if field.name not in told and getattr(config, field.name) != getattr(usual, field.name):
            raise IncompatibleModel(
                f"DeepFaceLab's {family.model_class} always has {field.name} {getattr(usual, field.name)}; this model "
                f"has {getattr(config, field.name)}.",
                hint="Only models of the class's own numbers can be exported.",
            )
    with torch.device("meta"):
        net = family.build(config)
    for name, tensor in net.state_dict().items():
        found = saved.weights.shapes.get(name)
        if found != tuple(tensor.shape):
            raise IncompatibleModel(
                f"The tensor {name} of the saved state is {found or 'missing'} where model.json asks for "
                f"{tuple(tensor.shape)}.",
                hint="Restore model.json from a copy.",
                tensor=name,
            )


def _options(model_class: str, record: ModelRecord, kept: ReferenceRecord | None) -> tuple[dict[Any, Any], list[str]]:
    """The reference's options, and ours that it does not have, where they are not at their defaults."""
    known = reference_options.known_options(model_class)
    training = {name: value for name, value in record.options.items() if value is not None}
    if "gan_patch_size" in known and not (kept and "gan_patch_size" in kept.options):
        size = int(record.config["size"])
        training.setdefault("gan_patch_size", fitting_patch_size(size // 8, size))
    options = reference_options.to_theirs(model_class, record.config, training, kept.options if kept else None)
    if kept is None:
        options = flat_writing.as_the_reference_types(model_class, options)
    defaults = TrainOptions()
    ours = [
        f"{name} {value}"
        for name, value in training.items()
        if name not in known and name not in OF_THIS_MACHINE and value != _plain(getattr(defaults, name, value))
    ]
    return options, ours


OF_THIS_MACHINE = frozenset({"device", "precision", "threads", "save_minutes", "keep_checkpoints", "preview_every"})
"""Options that say nothing about a model, so that nobody misses them."""


def _plain(value: Any) -> Any:
    """A default as `model.json` holds it."""
    return getattr(value, "value", str(value) if isinstance(value, Path) else value)


def _their_name(
    name: str, model_class: str, kept: ReferenceRecord | None, chosen: str | None, notes: list[tuple[str, str]]
) -> str:
    """What DeepFaceLab is to call the model. It reads a name up to its first underscore only."""
    if model_class == "XSeg":
        return "XSeg"
    if chosen is not None:
        Workspace(Path()).model(chosen)  # raises UsageError for what is no file name
        if "_" in chosen:
            notes.append(
                (f"DeepFaceLab lists {chosen} as {chosen.partition('_')[0]} and cannot open it so.", "warning")
            )
        return chosen
    if "_" in name:
        spaced = name.replace("_", " ")
        notes.append((f"Exported as {spaced!r}: DeepFaceLab reads names up to the first underscore only.", "info"))
        return spaced
    return name


def _old_files(target: Path, export: Export, replace: bool) -> list[str]:
    """Names of the files of a model of the same name, which DeepFaceLab would take for its own."""
    with os_errors(target):
        names = [path.name for path in target.iterdir() if path.is_file()] if target.is_dir() else []
    own = {f"{export.prefix}data.dat", f"{export.prefix}summary.txt"}
    old = sorted(name for name in names if name in own or (name.startswith(export.prefix) and name.endswith(".npy")))
    if old and not replace:
        raise UsageError(
            f"Files of the model {export.label} are there already: {old[0]} and {len(old) - 1} more.",
            hint="--replace moves them to the workspace's trash; --output DIR writes elsewhere; "
            "--as NAME gives the export another name.",
            folder=target,
        )
    return old


def _require_room(target: Path, export: Export) -> None:
    """Raise DiskFull before anything is written rather than after minutes of writing."""
    with os_errors(target):
        target.mkdir(parents=True, exist_ok=True)
    needed = export.saved.size_bytes + SPARE_BYTES
    free = shutil.disk_usage(target).free
    if free < needed:
        raise DiskFull(
            f"The export takes {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free. Nothing was written.",
            hint=f"Free some room on the disk of {target}, or write to another with --output DIR.",
            path=target,
        )


def _write(made: Path, export: Export, losses: Losses, report: Report, stop: Stop) -> None:
    """Write every file of the model into the folder `made`."""
    saved, kept = export.saved, export.kept
    parts: list[tuple[FlatFile, OpenTensors]] = [(file, saved.weights) for file in export.networks.files]
    if saved.optimiser is not None:
        parts += [(file, saved.optimiser) for file in export.optimisers.files]
    pace = Pace("Exporting", sum(len(file.entries) for file, _ in parts), report, unit="tensors")

    def each(source: str) -> None:
        if stop():
            raise Interrupted("Stopped; nothing was exported.", hint="Run the same command again.")
        pace.advance()

    for file, tensors in parts:
        flat_writing.write_flat_file(made / f"{export.prefix}{file.name}", file, tensors, each=each)
    flat_writing.write_data(
        made / f"{export.prefix}data.dat",
        iteration=export.iteration,
        options=export.options,
        losses=losses,
        sample_for_preview=kept.sample_for_preview if kept else None,
        extra=kept.extra if kept else None,
    )
    summary = flat_writing.summary_text(export.label, export.iteration, export.options, _program())
    (made / f"{export.prefix}summary.txt").write_text(summary, encoding="utf-8", newline="\n")
    defaults = f"{export.model_class}_default_options.dat"
    if kept is not None and kept.default_options is not None and not (made.parent / defaults).exists():
        flat_writing.write_options(made / defaults, kept.default_options)


def _program() -> str:
    from understudy import __version__

    return f"understudy {__version__}"


def _losses(folder: Path, export: Export) -> Losses:
    """The loss history: as it was imported where nothing was trained since, else a row for every iteration.

    DeepFaceLab takes means over slices by iteration, so rows that nobody knows repeat the nearest one that is known.
    """
    names, kept = loss_names(export.model_class), export.kept
    history = History.read(folder / HISTORY_NAME)
    rows = np.full((export.iteration, len(names)), np.nan)
    at = np.asarray(history.iterations, np.int64) - 1
    inside = (at >= 0) & (at < export.iteration)
    for column, name in enumerate(names):
        if name in history.losses:
            rows[at[inside], column] = np.asarray(history.losses[name], np.float64)[inside]
    if kept is not None and kept.losses is not None and kept.iteration <= export.iteration:
        rows[kept.iteration - len(kept.losses) : kept.iteration] = kept.losses
    if kept is not None and kept.iteration == export.iteration:
        known = np.flatnonzero(~np.isnan(rows).any(axis=1))
        return rows[known[0] :] if len(known) else rows[:0]
    return _filled(rows)


def _filled(rows: Losses) -> Losses:
    """Rows without gaps: unknown ones as the one before them, those at the beginning as the first that is known."""
    known = ~np.isnan(rows).any(axis=1)
    if not known.any():
        return np.zeros_like(rows)
    before = np.maximum.accumulate(np.where(known, np.arange(len(rows)), -1))
    return rows[np.where(before < 0, np.argmax(known), before)]
