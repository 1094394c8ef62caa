"""Empty a workspace without losing anything: what was made moves to its trash, and can come back."""

from __future__ import annotations

import time
from pathlib import Path

from understudy.errors import Busy, UsageError
from understudy.files import os_errors, require_writable, sync_folder
from understudy.jobs import running_in
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


def clearable(workspace: Workspace) -> list[Path]:
    """What a clear would move: folders that hold any file, and results. The videos stay."""
    folders = [workspace.src.frames, workspace.dst.frames, workspace.models]
    made = [folder for folder in folders if any(path.is_file() for path in folder.rglob("*"))]
    return made + sorted(path for stem in ("result", "result_mask") for path in workspace.root.glob(f"{stem}.*"))


def clear(workspace: Workspace) -> StageResult:
    """Move everything that was made into one folder of the trash, and make the empty folders again.

    Raises Busy while a job runs in the workspace, ReadOnlyWorkspace.
    """
    started = time.perf_counter()
    _refuse_while_running(workspace)
    found = clearable(workspace)
    if not found:
        return StageResult()
    trash = workspace.new_trash("clear")
    for folder in (workspace.root, *(path for path in found if path.is_dir())):
        require_writable(folder)  # a folder that may not be written to cannot be moved either
    with os_errors(trash):
        trash.mkdir(parents=True)
        for path in found:
            path.rename(trash / path.name)
        sync_folder(trash)
    Workspace.create(workspace.root)
    moved = [path.name for path in found]
    return StageResult(outputs=[trash], seconds=time.perf_counter() - started, notes={"moved": moved})


def restore(workspace: Workspace) -> StageResult:
    """Bring back what the last clear moved away.

    Raises UsageError when nothing was cleared, or when something new stands where it would go; nothing is moved then.
    """
    started = time.perf_counter()
    _refuse_while_running(workspace)
    trash = max((workspace.private / "trash").glob("*-clear"), default=None, key=lambda path: path.name)
    if trash is None:
        raise UsageError(
            "There is no clear to undo in this workspace.", hint="See what is there with: understudy status"
        )
    moved = sorted(trash.iterdir())
    taken = sorted({path.name for path in clearable(workspace)} & {path.name for path in moved})
    if taken:
        raise UsageError(
            f"Something new stands where the old would come back: {', '.join(taken)}.",
            hint=f"Clear again first, or take what you need from {trash}",
        )
    back = [workspace.root / path.name for path in moved]
    with os_errors(workspace.root):
        for old, path in zip(moved, back, strict=True):
            _remove_empty(path)
            old.rename(path)
        trash.rmdir()
        sync_folder(workspace.root)
    Workspace.create(workspace.root)
    return StageResult(outputs=back, seconds=time.perf_counter() - started)


def _refuse_while_running(workspace: Workspace) -> None:
    running = running_in(workspace.private / "jobs")
    if running:
        raise Busy(f"{running[0].title} is running in this workspace.", hint="Stop it first with: understudy stop")


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but empty folders."""
    if folder.is_dir():
        for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            inner.rmdir()
        folder.rmdir()
