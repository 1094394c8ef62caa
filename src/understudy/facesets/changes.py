"""Renaming and moving many face files as one change, which a crash cannot leave half done and which can be undone.

    changes: what moves where → change_journal: written down → change_run: carried out, file by file

A file whose name another one wants first steps aside under a hidden name; when all of them have, every file goes to its
new name. The suffix of the journal says which of the two steps is under way, forth or back, so that what a killed
process left is told from the files that are there.
"""
# Paths are texts here: a change of a hundred thousand files takes half the time.
# ruff: noqa: PTH100, PTH118, PTH119, PTH122

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from understudy import files
from understudy.errors import FacesetError, UnderstudyError, UnsafeFile, UsageError
from understudy.facesets.change_journal import ASIDE_PREFIX, Journal, State, Step, base_of, finished, unfinished
from understudy.facesets.change_run import Run, exists, free_name, same
from understudy.files import os_errors
from understudy.records import Skipped
from understudy.report import Report, Stop, never, silent

KEPT = 100
"""How many changes can be undone; the journals of older ones are dropped, the files they moved stay where they are."""

_LONGEST_NAME = 240


@dataclass(frozen=True)
class Move:
    """One file that goes from `old` to `new`."""

    old: Path
    new: Path


@dataclass(frozen=True)
class Change:
    """Files that were moved together.

    moves: what was really moved, from where to where; after `undo_last`, back. skipped: files that were no longer there
    when their turn came. journal: where the change is written down.
    """

    title: str
    at: datetime
    moves: tuple[Move, ...]
    skipped: tuple[Skipped, ...]
    journal: Path

    def keys(self, folder: Path) -> list[tuple[str, str]]:
        """(old, new) of the moves that stay inside `folder`, from it and with "/", as `Catalog.renamed` takes them."""
        start = os.path.join(os.path.abspath(folder), "")
        pairs = ((str(move.old), str(move.new)) for move in self.moves)
        inside = ((old, new) for old, new in pairs if old.startswith(start) and new.startswith(start))
        return [(old[len(start) :].replace(os.sep, "/"), new[len(start) :].replace(os.sep, "/")) for old, new in inside]


def apply(
    moves: Sequence[Move],
    *,
    title: str,
    journal_folder: Path,
    roots: Sequence[Path] = (),
    report: Report = silent,
    stop: Stop = never,
) -> Change:
    """Rename all these files, or none: what goes wrong on the way puts every file back.

    journal_folder: `workspace.changes(side)`. roots: folders that all names must lie in; the workspace is one always.
    Any permutation of names will do. A name that another file has is not overwritten: `_2` is added, or `_3`, and so
    on. A file that has vanished is left out and named in the result. For the one writer of the faceset, after
    `recover`. Raises Interrupted, DiskFull, ReadOnlyWorkspace and UsageError, with everything in its old place.
    """
    if unfinished(journal_folder):
        recover(journal_folder)
        raise FacesetError(
            "An earlier change of this faceset had been cut off; it has been finished just now.",
            hint="Run the same command again.",
        )
    _require_inside(moves, roots, base_of(journal_folder))
    steps, gone = _planned(moves)
    run = Run(Journal.begin(journal_folder, title, steps), report=report, stop=stop)
    run.skipped += gone
    if not steps:
        return _change(run, back=False)
    with os_errors(Path(steps[0].old)):
        run.journal.write()
        try:
            run.forth()
        except BaseException:
            run.give_up(run.back)
            raise
    _drop_old(journal_folder)
    return _change(run, back=False)


def recover(journal_folder: Path) -> list[Change]:
    """Finish what a killed process left: a change goes on where names were given already, else everything goes back.

    To be called first by whoever writes a faceset, holding its lock. Usually there is nothing to do. Gives the changes
    it finished, with what was moved in the end. Raises DiskFull and ReadOnlyWorkspace.
    """
    done = []
    files.sweep(journal_folder)
    for path in unfinished(journal_folder):
        run = Run(Journal.read(path), is_resumed=True)
        with os_errors(Path(run.steps[0].old if run.steps else path)):
            is_placing = run.journal.state is State.PLACING
            run.forth() if is_placing else run.back()
            done.append(_change(run, back=not is_placing))
    return done


def undo_last(journal_folder: Path, *, report: Report = silent, stop: Stop = never) -> Change:
    """Bring the files of the last change back to where they were.

    A name that a new file has taken since is not overwritten: `_2` is added. Files that are no longer there are named
    in the result. To be called as `recover` is, after it. Raises UsageError when there is nothing to undo, and what
    `apply` raises, with everything left as it was.
    """
    done = finished(journal_folder)
    if not done:
        raise UsageError(
            "There is no change of this faceset to undo.",
            hint=f"See its changes with: understudy faceset undo {journal_folder.name} --list",
        )
    run = Run(Journal.read(done[-1]), undoes=True, report=report, stop=stop)
    with os_errors(Path(run.steps[0].new if run.steps else run.journal.path)):
        try:
            run.back()
        except BaseException:
            run.give_up(run.forth)
            raise
    return _change(run, back=True)


def changes(journal_folder: Path) -> list[Change]:
    """The changes that can be undone, the last one first. Journals that make no sense are left out."""
    found = []
    for path in reversed(finished(journal_folder)):
        with contextlib.suppress(UnderstudyError, OSError):
            run = Run(Journal.read(path))
            run.moved = set(range(len(run.steps)))
            found.append(_change(run, back=False))
    return found


def _change(run: Run, *, back: bool) -> Change:
    """What was done."""
    chosen = [run.steps[index] for index in sorted(run.moved)]
    pairs = [(step.new, step.old) if back else (step.old, step.new) for step in chosen]
    made = tuple(Move(Path(old), Path(new)) for old, new in pairs)
    return Change(run.journal.title, run.journal.at, made, tuple(run.skipped), run.journal.path)


def _planned(moves: Sequence[Move]) -> tuple[list[Step], list[Skipped]]:
    """The way of every file that is there: which must step aside, and which names have to be others."""
    pairs = [(_text(move.old), _text(move.new)) for move in moves]
    pairs = [(old, new) for old, new in pairs if old != new]
    leaving = {same(old) for old, _ in pairs}
    if len(leaving) != len(pairs):
        raise ValueError("a file cannot be moved twice in one change")
    gone = [Skipped(os.path.basename(old), "it is no longer there") for old, _ in pairs if not exists(old)]
    steps, token, taken = [], secrets.token_hex(4), set[str]()
    wanted = {same(new) for _, new in pairs}
    for index, (old, new) in enumerate(pairs):
        if not exists(old):
            continue
        name = free_name(new, taken=taken, leaving=leaving)
        taken.add(same(name))
        steps.append(Step(old, _aside_name(old, token, index) if same(old) in wanted else None, name))
    return steps, gone


def _aside_name(old: str, token: str, index: int) -> str:
    """A hidden name beside the old one, from which a person could still tell the file."""
    folder, name = os.path.split(old)
    aside = f"{ASIDE_PREFIX}{token}-{name}"
    if len(os.fsencode(aside)) > _LONGEST_NAME:
        aside = f"{ASIDE_PREFIX}{token}-{index}{os.path.splitext(name)[1]}"
    return os.path.join(folder, aside)


def _text(path: Path) -> str:
    return os.path.abspath(path)


def _require_inside(moves: Sequence[Move], roots: Sequence[Path], base: str) -> None:
    """Every name must lie in the workspace, and in one of the roots where there are any."""
    starts = tuple(os.path.join(_text(root), "") for root in roots) or (base,)
    for move in moves:
        for path in (move.old, move.new):
            text = _text(path)
            if not (text.startswith(base) and text.startswith(starts)):
                raise UnsafeFile(f"{path.name[:80]!r} would leave the faceset.", hint="Nothing was moved.", path=path)


def _drop_old(journal_folder: Path) -> None:
    for path in finished(journal_folder)[:-KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()
