"""Copy a model, whole or as a beginner with its weights.

A copy shares the files of saved states, which never change, with the model it was made from, as hard links where the
disk has them. What a beginner keeps and what begins anew in it is in model_start.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from understudy.errors import CorruptCheckpoint, Interrupted, UsageError
from understudy.files import TEMP_PREFIX, publishing_folder, sweep
from understudy.report import Pace, Report, Stop, never, silent
from understudy.stages.flat_import import import_flat
from understudy.stages.model_manage import require_free, writing_models
from understudy.stages.model_start import (
    Origin,
    find_origin,
    require_name_for_class,
    start_from_pretrained,
    warnings_of,
)
from understudy.stages.result import StageResult
from understudy.training.saved.models import is_model, newest_iteration, read_record, write_record
from understudy.workspace import Workspace

NEVER_CHANGES = frozenset({"checkpoints", "backups", "best"})
"""Folders of a model whose files are written once: a copy may share them."""

LEFT_OUT = frozenset({"damaged"})
"""What a copy does without."""


def copy_model(
    workspace: Workspace,
    old: str,
    new: str,
    *,
    fresh: bool = False,
    model_class: str = "",
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Make the model `new` from `old`: the same with all its saved states, or, fresh, a beginner with its weights.

    old: a model of this workspace or of the shared folder of pretrained ones, or the path of a model's folder, ours or
    of the reference's files. Flat files are imported under the new name and stay as they are. fresh: what is kept and
    what begins anew is in `stages/model_start.py`. The notes hold model, class, copied_from, iteration, and fresh: the
    networks that begin anew. Raises what `start_from_pretrained` raises, and Busy while either is in training.
    """
    started = time.perf_counter()
    require_free(workspace, new)
    origin = find_origin(workspace, old, model_class)
    with writing_models(workspace, *([origin.name] if origin.here else []), new):
        require_free(workspace, new)
        sweep(workspace.models)
        target = workspace.model(new)
        anew: list[str] | None = None
        if fresh:
            quiet = warnings_of(report)  # whoever copies reads the result
            anew = start_from_pretrained(workspace, new, old, model_class=model_class, report=quiet)
        elif origin.flat is not None:
            require_name_for_class(new, origin.flat.model_class)
            import_flat(target, origin.flat, report=report)
        else:
            _copy_ours(origin, target, report, stop)
    record = read_record(target)
    notes: dict[str, object] = {"model": new, "class": record.model_class, "copied_from": origin.name}
    notes |= {"iteration": newest_iteration(target) or 0}
    return StageResult(
        outputs=[target],
        seconds=time.perf_counter() - started,
        notes=notes if anew is None else notes | {"fresh": anew},
    )


def _copy_ours(origin: Origin, target: Path, report: Report, stop: Stop) -> None:
    """Copy a folder of ours, saved states as links; it appears by one rename."""
    if not is_model(origin.folder):
        raise UsageError(
            f"{origin.name} is a folder of weight files without options, which can only be started from.",
            hint=f"Add --fresh, or: understudy train {target.name} --pretrained {origin.folder}",
        )
    record = read_record(origin.folder)
    require_name_for_class(target.name, record.model_class)
    every = [path for path in _files_of(origin.folder) if path.name != "model.json"]
    iteration = newest_iteration(origin.folder)
    at = "" if iteration is None else f" at iteration {iteration}"
    with publishing_folder(target) as temp:
        pace = Pace("Copying", len(every), report, unit="files")
        for path in every:
            if stop():
                raise Interrupted("Stopped while a model was copied; nothing of the copy is left.", hint="")
            _copy_file(path, temp / path.relative_to(origin.folder), origin.folder)
            pace.advance()
        write_record(temp, record.with_event("copied", f"Copied from {origin.name}{at}."))


def _files_of(folder: Path) -> list[Path]:
    """The files of a model that a copy has too."""
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT and not name.startswith(TEMP_PREFIX))
        found += [Path(root) / name for name in sorted(names) if not name.startswith(TEMP_PREFIX)]
    return found


def _copy_file(source: Path, target: Path, model: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.relative_to(model).parts[0] in NEVER_CHANGES:
        with contextlib.suppress(OSError):  # a disk without hard links, or another one
            os.link(source, target)
            return
    try:
        shutil.copyfile(source, target)
    except FileNotFoundError:
        raise CorruptCheckpoint(
            f"{source.name} vanished while it was copied.", hint="Run the same command again.", path=source
        ) from None
