"""Hand a model back to DeepFaceLab: its flat files, written so that it loads them and trains on.

model/NAME/ ─ newest saved state, options, losses, what was kept from the import ─► NAME_CLASS_… in model/ or DIR
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from understudy.errors import DiskFull, Interrupted, UsageError
from understudy.files import make_folder, os_errors
from understudy.interop import flat_writing, reference_record
from understudy.interop.flat_names import DATA, DEFAULT_OPTIONS, SUMMARY
from understudy.interop.flat_writing import PlannedFile
from understudy.interop.reference_record import loss_names
from understudy.records import WeightsChoice
from understudy.report import Pace, Report, Stop, never, silent
from understudy.stages.export_plan import ExportPlan, plan_export
from understudy.stages.models import open_model
from understudy.stages.publishing import finish_publishing, publishing_set
from understudy.stages.result import StageResult
from understudy.training.history import FILE_NAME as HISTORY_NAME
from understudy.training.history import History
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.models import read_record
from understudy.training.saved.open_state import AveragedTensors, OpenTensors, open_newest
from understudy.workspace import Workspace

Losses = NDArray[np.float64]

SPARE_BYTES = 1 << 20
"""What the small files may take beside the tensors."""

MOST_UNKNOWN = 10**7
"""Rows of losses that nobody knows; a count of iterations beyond it would fill the memory with them."""


def export_dfl(
    workspace: Workspace,
    name: str,
    *,
    output: Path | None = None,
    as_name: str | None = None,
    replace: bool = False,
    weights: WeightsChoice = WeightsChoice.AUTO,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Write the newest saved state of the model `name` as DeepFaceLab's flat files, all of them or none.

    output: the folder for them; None: the workspace's `model/`, where DeepFaceLab looks. as_name: what DeepFaceLab is
    to call the model. replace: whether files of a model of that name may move to the trash. A model that is being
    trained is exported as it was saved last, and goes on. weights: auto writes their slow average where there is one,
    beside the optimiser's state of the trained ones. The notes hold model, class, iteration, left_out (options and
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
        open_newest(CheckpointStore(folder), report, weights=weights) as saved,
    ):
        export = plan_export(name, record, kept, saved, as_name)
        finish_publishing(target, export.label)
        old = _old_files(target, export, replace)
        _require_room(target, export)
        trash = workspace.new_trash(f"export-dfl-{export.label}")
        with publishing_set(
            target, export.label, last=f"{export.prefix}{DATA}", trash=trash, replacing=old
        ) as made:  # fmt: skip
            _write(made, export, _losses(folder, export), report, stop)
            names = sorted(path.name for path in made.iterdir())
    for note in export.notes:
        report(note)
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


def _old_files(target: Path, export: ExportPlan, replace: bool) -> list[str]:
    """Names of the files of a model of the same name, which DeepFaceLab would take for its own."""
    with os_errors(target):
        names = [path.name for path in target.iterdir() if path.is_file()] if target.is_dir() else []
    own = {f"{export.prefix}{DATA}", f"{export.prefix}{SUMMARY}"}
    old = sorted(name for name in names if name in own or (name.startswith(export.prefix) and name.endswith(".npy")))
    if old and not replace:
        raise UsageError(
            f"Files of the model {export.label} are there already: {old[0]} and {len(old) - 1} more.",
            hint="--replace moves them to the workspace's trash; --output DIR writes elsewhere; "
            "--as NAME gives the export another name.",
            folder=target,
        )
    return old


def _require_room(target: Path, export: ExportPlan) -> None:
    """Raise DiskFull before anything is written rather than after minutes of writing."""
    make_folder(target)
    needed = export.saved.size_bytes + SPARE_BYTES
    free = shutil.disk_usage(target).free
    if free < needed:
        raise DiskFull(
            f"The export takes {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free. Nothing was written.",
            hint=f"Free some room on the disk of {target}, or write to another with --output DIR.",
            path=target,
        )


def _write(made: Path, export: ExportPlan, losses: Losses, report: Report, stop: Stop) -> None:
    """Write every file of the model into the folder `made`."""
    saved, kept = export.saved, export.kept
    parts: list[tuple[PlannedFile, OpenTensors | AveragedTensors]] = []
    parts += [(file, saved.weights) for file in export.networks.files]
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
        made / f"{export.prefix}{DATA}",
        iteration=export.iteration,
        options=export.options,
        losses=losses,
        sample_for_preview=kept.sample_for_preview if kept else None,
        extra=kept.extra if kept else None,
    )
    summary = flat_writing.summary_text(export.label, export.iteration, export.options, _program())
    (made / f"{export.prefix}{SUMMARY}").write_bytes(summary.encode("utf-8", "backslashreplace"))
    defaults = f"{export.model_class}_{DEFAULT_OPTIONS}"
    if kept is not None and kept.default_options is not None and not (made.parent / defaults).exists():
        flat_writing.write_options(made / defaults, kept.default_options)


def _program() -> str:
    from understudy import __version__

    return f"understudy {__version__}"


def _losses(folder: Path, export: ExportPlan) -> Losses:
    """The loss history: as it was imported where nothing was trained since, else a row for every iteration.

    DeepFaceLab takes means over slices by iteration, so rows that nobody knows repeat the nearest one that is known.
    """
    names, kept = loss_names(export.model_class), export.kept
    history = History.read(folder / HISTORY_NAME)
    at = np.asarray(history.iterations, np.int64) - 1
    inside = (at >= 0) & (at < export.iteration)
    first = int(at[inside].min(initial=export.iteration))
    if kept is not None and kept.losses is not None and kept.iteration <= export.iteration:
        first = min(first, kept.iteration - len(kept.losses))
    rows = np.full((export.iteration - first, len(names)), np.nan)
    for column, name in enumerate(names):
        if name in history.losses:
            rows[at[inside] - first, column] = np.asarray(history.losses[name], np.float64)[inside]
    if kept is not None and kept.losses is not None and kept.iteration <= export.iteration:
        rows[kept.iteration - len(kept.losses) - first : kept.iteration - first] = kept.losses
    if kept is not None and kept.iteration == export.iteration:
        return rows
    return _filled(np.concatenate([np.full((min(first, MOST_UNKNOWN), len(names)), np.nan), rows]))


def _filled(rows: Losses) -> Losses:
    """Rows without gaps: unknown ones as the one before them, those at the beginning as the first that is known."""
    known = ~np.isnan(rows).any(axis=1)
    if not known.any():
        return np.zeros_like(rows)
    before = np.maximum.accumulate(np.where(known, np.arange(len(rows)), -1))
    return rows[np.where(before < 0, np.argmax(known), before)]
