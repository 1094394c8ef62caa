"""What every stage that writes into a faceset shares: one writer, no half-done change, and ways back."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from understudy.errors import UsageError
from understudy.facesets import FaceEntry
from understudy.facesets.changes import Change, Move, apply, recover
from understudy.facesets.packs import PACK_NAME
from understudy.files import is_folder, os_errors, sweep, sync_files
from understudy.records import Side
from understudy.report import Report, Stop, never, silent
from understudy.workspace import Workspace


@contextlib.contextmanager
def writing_faces(workspace: Workspace, side: Side) -> Iterator[Path]:
    """Hold the faceset's lock, finish what a killed process left, and give the faceset's folder. Raises Busy.

    Its unfinished writes are swept away: other programs take them for faces, since they do not mind a leading dot.
    """
    with workspace.writing(f"aligned-{side}"):
        recover(workspace.changes(side))
        aligned = workspace.side(side).aligned
        for folder in _folders(aligned):
            sweep(folder)
        yield aligned


def _folders(aligned: Path) -> list[Path]:
    """The faceset's folder and its persons'; none where they cannot be looked into."""
    try:
        with os.scandir(aligned) as entries:
            persons = [Path(entry.path) for entry in entries if is_folder(entry) and not entry.name.startswith(".")]
    except OSError:
        return []
    return [aligned, *persons]


def require_loose(workspace: Workspace, side: Side, *, otherwise: str = "") -> None:
    """Raise UsageError while the faceset is packed: what is done to its files would not be seen.

    otherwise: a sentence about what works with packed faces, for the hint.
    """
    if (workspace.side(side).aligned / PACK_NAME).is_file():
        raise UsageError(
            "The faces are packed in faceset.pak; this works on loose face files.",
            hint=f"Unpack them first: understudy faceset unpack {side}" + (f". {otherwise}" if otherwise else ""),
        )


def to_trash(
    workspace: Workspace, side: Side, keys: Iterable[str], *, title: str, report: Report = silent, stop: Stop = never
) -> Change:
    """Move files of the faceset's folder to aligned_trash, as one change that can be undone."""
    paths = workspace.side(side)
    moves = [Move(paths.aligned / key, paths.aligned_trash / key) for key in keys]
    return apply(moves, title=title, journal_folder=workspace.changes(side), report=report, stop=stop)


def swap_in(
    workspace: Workspace,
    side: Side,
    keys: Sequence[str],
    made: Path,
    *,
    title: str,
    report: Report = silent,
    stop: Stop = never,
) -> Change:
    """Put the files `made`/key in the places of the faceset's, which move to aligned_trash; all of them or none.

    One change that can be undone. The new files are safe on the disk before an old one moves.
    """
    paths = workspace.side(side)
    sync_files([made / key for key in keys])
    moves = [Move(paths.aligned / key, paths.aligned_trash / key) for key in keys if (paths.aligned / key).exists()]
    moves += [Move(made / key, paths.aligned / key) for key in keys]
    return apply(moves, title=title, journal_folder=workspace.changes(side), report=report, stop=stop)


@contextlib.contextmanager
def staging(workspace: Workspace, side: Side, what: str) -> Iterator[Path]:
    """An empty folder of the workspace's own for files that are about to be swapped in; gone afterwards."""
    folder = workspace.private / "staging" / f"{what}-{side}"
    with os_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def beside(entry: FaceEntry, ending: str) -> Path:
    """A picture that belongs to a face and lies beside it: 00001_0.jpg has 00001_0_debug.jpg."""
    return entry.path.with_name(f"{entry.path.stem}{ending}")
