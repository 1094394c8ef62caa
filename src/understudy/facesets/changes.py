"""Renaming and moving many face files as one change, which a crash cannot leave half done and which can be undone.

    .understudy/changes/src/20260101-120000-000000.jsonl

    {"schema": "understudy-change/1", "title": "Sorted by blur", "at": "2026-01-01T12:00:00+00:00"}
    ["data_src/aligned/00001_0.jpg", null, "data_src/aligned/00007.jpg"]              where it was, where it goes
    ["data_src/aligned/00007.jpg", "data_src/aligned/.moving-…", "data_src/aligned/00000.jpg"]
    {"step": 1, "new": "data_src/aligned/00000_2.jpg"}                                 what turned out otherwise

A file whose name another one wants first steps aside under a hidden name; when all of them have, every file goes to its
new name. The suffix of the journal says which of the two steps is under way, forth or back, so that what a killed
process left is told from the files that are there. Names are kept from the workspace's root, and never leave it.
"""
# Paths are texts here: a change of a hundred thousand files takes half the time.
# ruff: noqa: PTH100, PTH103, PTH104, PTH108, PTH118, PTH119, PTH120, PTH122

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from understudy import files
from understudy.errors import FacesetError, Interrupted, UnderstudyError, UnsafeFile, UsageError
from understudy.files import os_errors, sync_folder
from understudy.records import Skipped
from understudy.report import Pace, Report, Stop, never, silent

SCHEMA = "understudy-change/1"
ASIDE_PREFIX = ".moving-"
"""Names that start so are faces in the middle of a change; `recover` brings them to their place."""

KEPT = 100
"""How many changes can be undone; the journals of older ones are dropped, the files they moved stay where they are."""

_STAMP = "%Y%m%d-%H%M%S-%f"
_LONGEST_NAME = 240

_PLACES = ("data_src", "data_dst", ".understudy")
"""Folders of a workspace in which files are renamed and moved."""


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
        return [(_slashed(old[len(start) :]), _slashed(new[len(start) :])) for old, new in inside]


class _State(StrEnum):
    """What is under way, as the journal's suffix says."""

    ASIDE = ".aside"
    PLACING = ".placing"
    DONE = ".jsonl"
    BACK_FROM_PLACE = ".back-placing"
    BACK_FROM_ASIDE = ".back-aside"


@dataclass
class _Step:
    """One file's way. aside: the hidden name between, None where it needs none. All absolute paths as texts."""

    old: str
    aside: str | None
    new: str

    @property
    def start(self) -> str:
        """Where the file waits until it is placed."""
        return self.aside or self.old


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
    if _unfinished(journal_folder):
        recover(journal_folder)
        raise FacesetError(
            "An earlier change of this faceset had been cut off; it has been finished just now.",
            hint="Run the same command again.",
        )
    base = _base_of(journal_folder)
    _require_inside(moves, roots, base)
    steps, gone = _planned(moves)
    at = datetime.now(UTC)
    run = _Run(journal_folder / (at.strftime(_STAMP) + _State.ASIDE), base, title, at, steps, report=report, stop=stop)
    run.skipped += gone
    if not steps:
        return run.change(back=False)
    with os_errors(Path(steps[0].old)):
        run.write()
        try:
            run.forth()
        except BaseException:
            run.give_up(run.back)
            raise
    _drop_old(journal_folder)
    return run.change(back=False)


def recover(journal_folder: Path) -> list[Change]:
    """Finish what a killed process left: a change goes on where names were given already, else everything goes back.

    To be called first by whoever writes a faceset, holding its lock. Usually there is nothing to do. Gives the changes
    it finished, with what was moved in the end. Raises DiskFull and ReadOnlyWorkspace.
    """
    done = []
    files.sweep(journal_folder)
    for path in _unfinished(journal_folder):
        run = _read(path)
        with os_errors(Path(run.steps[0].old if run.steps else path)):
            is_placing = run.state is _State.PLACING
            run.forth() if is_placing else run.back()
            done.append(run.change(back=not is_placing))
    return done


def undo_last(journal_folder: Path, *, report: Report = silent, stop: Stop = never) -> Change:
    """Bring the files of the last change back to where they were.

    A name that a new file has taken since is not overwritten: `_2` is added. Files that are no longer there are named
    in the result. To be called as `recover` is, after it. Raises UsageError when there is nothing to undo, and what
    `apply` raises, with everything left as it was.
    """
    done = _finished(journal_folder)
    if not done:
        raise UsageError(
            "There is no change of this faceset to undo.",
            hint=f"See its changes with: understudy faceset undo {journal_folder.name} --list",
        )
    run = _read(done[-1])
    run.report, run.stop, run.step = report, stop, "Bringing back"
    with os_errors(Path(run.steps[0].new if run.steps else run.journal)):
        try:
            run.back()
        except BaseException:
            run.give_up(run.forth)
            raise
    return run.change(back=True)


def changes(journal_folder: Path) -> list[Change]:
    """The changes that can be undone, the last one first. Journals that make no sense are left out."""
    found = []
    for path in reversed(_finished(journal_folder)):
        with contextlib.suppress(UnderstudyError, OSError):
            run = _read(path)
            run.moved = set(range(len(run.steps)))
            found.append(run.change(back=False))
    return found


class _Run:
    """A change on its way: brings every file to the one end or the other, from wherever a killed process left it.

    Both ways lead through the same middle, in which the files that need it are aside and no other has moved. As long as
    the journal's suffix says which half is under way, the files that are there tell what has been done of it.
    """

    def __init__(
        self,
        journal: Path,
        base: str,
        title: str,
        at: datetime,
        steps: list[_Step],
        *,
        report: Report = silent,
        stop: Stop = never,
    ) -> None:
        self.journal, self.base, self.title, self.at, self.steps = journal, base, title, at, steps
        self.report, self.stop, self.step = report, stop, "Renaming"
        self.skipped: list[Skipped] = []
        self.moved: set[int] = set()
        """Steps whose file is at the end that was last headed for."""
        self.moved_here = False
        """Whether this process has begun to move them, and so knows which it has."""
        self.is_resumed = False
        """Whether files may be anywhere on their way, so that one that is not where it begins may have arrived."""

    @property
    def state(self) -> _State:
        return _State(self.journal.suffix)

    def forth(self) -> None:
        """To the new names."""
        self._begin(step.new for step in self.steps)
        if self.state in (_State.ASIDE, _State.BACK_FROM_ASIDE):
            self._enter(_State.ASIDE)
            self._each(self._step_aside)
        self._enter(_State.PLACING)
        self._each(self._place)
        self._enter(_State.DONE)

    def back(self) -> None:
        """To the old names; then the change is forgotten."""
        self._begin(step.old for step in self.steps)
        if self.state in (_State.DONE, _State.PLACING, _State.BACK_FROM_PLACE):
            self._enter(_State.BACK_FROM_PLACE)
            self._each(self._take_back)
        self._enter(_State.BACK_FROM_ASIDE)
        self._each(self._return)
        self._sync()
        self.journal.unlink()

    def give_up(self, way_back: Callable[[], None]) -> None:
        """Go the other way after something went wrong; what fails again is left for `recover`."""
        self.stop, self.report, self.is_resumed = never, silent, True
        with contextlib.suppress(OSError, UnderstudyError):
            way_back()

    def write(self) -> None:
        """Write the journal, safely on the disk before the first file moves."""
        head = {"schema": SCHEMA, "title": self.title, "at": self.at.isoformat()}
        rows = ([self._short(step.old), self._short(step.aside), self._short(step.new)] for step in self.steps)
        files.write_bytes(self.journal, "".join(json.dumps(line) + "\n" for line in (head, *rows)).encode())

    def change(self, *, back: bool) -> Change:
        """What was done."""
        chosen = [self.steps[index] for index in sorted(self.moved)]
        pairs = [(step.new, step.old) if back else (step.old, step.new) for step in chosen]
        made = tuple(Move(Path(old), Path(new)) for old, new in pairs)
        return Change(self.title, self.at, made, tuple(self.skipped), self.journal)

    # -- one file at a time: each is a single rename, and does nothing where it has been done already

    def _step_aside(self, index: int, step: _Step) -> None:
        if step.aside is not None and not _exists(step.aside):
            _rename(step.old, step.aside)

    def _place(self, index: int, step: _Step) -> None:
        if index in self._stayed and step.aside is None and _exists(step.new):
            self.moved.add(index)
            return
        if _exists(step.start):
            if _exists(step.new):
                self._amend(index, "new", _free_name(step.new))
            if _rename(step.start, step.new):
                self.moved.add(index)
                return
        self._miss(index, step.new, step.old)

    def _take_back(self, index: int, step: _Step) -> None:
        if step.aside is not None:
            if not _exists(step.aside):
                _rename(step.new, step.aside)
        elif index in self._stayed and _exists(step.old):
            self.moved.add(index)
        else:
            self._restore(index, step, step.new)

    def _return(self, index: int, step: _Step) -> None:
        if step.aside is not None:
            self._restore(index, step, step.aside)
        elif self.is_resumed and _exists(step.old):
            self.moved.add(index)

    def _restore(self, index: int, step: _Step, source: str) -> None:
        if _exists(source):
            if _exists(step.old):
                self._amend(index, "old", _free_name(step.old))
            if _rename(source, step.old):
                self.moved.add(index)
                return
        self._miss(index, step.old, step.new)

    def _miss(self, index: int, end: str, name: str) -> None:
        """A file that is not where its way begins: it has arrived before, or is gone."""
        if self.is_resumed and _exists(end):
            self.moved.add(index)
        else:
            self.skipped.append(Skipped(os.path.basename(name), "it is no longer there"))

    # -- inside

    def _begin(self, ends: Iterable[str]) -> None:
        """Make the folders, and forget what the other way has done, but for which files it had not reached."""
        for folder in {os.path.dirname(end) for end in ends}:
            os.makedirs(folder, exist_ok=True)
        halfway = self.is_resumed and self.state in (_State.PLACING, _State.BACK_FROM_PLACE)
        self._stayed = set(range(len(self.steps))) - self.moved if halfway and self.moved_here else set()
        self.moved, self.moved_here = set(), True

    def _each(self, do: Callable[[int, _Step], None]) -> None:
        pace = Pace(self.step, len(self.steps), self.report, unit="files")
        for index, step in enumerate(self.steps):
            if self.stop():
                raise Interrupted(
                    "Stopped while files were renamed; every file is back under its old name."
                    if self.step == "Renaming"
                    else "Stopped while files were brought back; every file is where it was before.",
                    hint="Run the same command again.",
                )
            do(index, step)
            pace.advance()

    def _enter(self, state: _State) -> None:
        """Say by the journal's name what is under way now; what was done before is safe by then."""
        if self.state is state:
            return
        self._sync()
        renamed = self.journal.with_suffix(state)
        self.journal.replace(renamed)
        self.journal = renamed
        sync_folder(renamed.parent)

    def _sync(self) -> None:
        for folder in {os.path.dirname(name) for step in self.steps for name in (step.old, step.new)}:
            sync_folder(Path(folder))

    def _amend(self, index: int, end: str, name: str) -> None:
        """Write down that a file goes elsewhere than planned, before it does."""
        with self.journal.open("ab") as file:
            file.write((json.dumps({"step": index, end: self._short(name)}) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        setattr(self.steps[index], end, name)

    def _short(self, name: str | None) -> str | None:
        return None if name is None else _slashed(name[len(self.base) :])


def _planned(moves: Sequence[Move]) -> tuple[list[_Step], list[Skipped]]:
    """The way of every file that is there: which must step aside, and which names have to be others."""
    pairs = [(_text(move.old), _text(move.new)) for move in moves]
    pairs = [(old, new) for old, new in pairs if old != new]
    leaving = {_same(old) for old, _ in pairs}
    if len(leaving) != len(pairs):
        raise ValueError("a file cannot be moved twice in one change")
    gone = [Skipped(os.path.basename(old), "it is no longer there") for old, _ in pairs if not _exists(old)]
    steps, token, taken = [], secrets.token_hex(4), set[str]()
    wanted = {_same(new) for _, new in pairs}
    for index, (old, new) in enumerate(pairs):
        if not _exists(old):
            continue
        name = _free_name(new, taken=taken, leaving=leaving)
        taken.add(_same(name))
        steps.append(_Step(old, _aside_name(old, token, index) if _same(old) in wanted else None, name))
    return steps, gone


def _aside_name(old: str, token: str, index: int) -> str:
    """A hidden name beside the old one, from which a person could still tell the file."""
    folder, name = os.path.split(old)
    aside = f"{ASIDE_PREFIX}{token}-{name}"
    if len(os.fsencode(aside)) > _LONGEST_NAME:
        aside = f"{ASIDE_PREFIX}{token}-{index}{os.path.splitext(name)[1]}"
    return os.path.join(folder, aside)


def _free_name(name: str, *, taken: Iterable[str] = (), leaving: Iterable[str] = ()) -> str:
    """The name, or with _2, _3 … before its suffix: the first that no file has, but for files that are leaving."""

    def is_free(candidate: str) -> bool:
        key = _same(candidate)
        return key not in taken and (key in leaving or not _exists(candidate))

    stem, suffix = os.path.splitext(name)
    number, candidate = 1, name
    while not is_free(candidate):
        number += 1
        candidate = f"{stem}_{number}{suffix}"
    return candidate


def _rename(old: str, new: str) -> bool:
    """Whether the file was there to be renamed. The caller has seen that `new` is free."""
    try:
        os.rename(old, new)
    except FileNotFoundError:
        if _exists(old):
            raise  # then it is the new name's folder that is not there
        return False
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with files.writing(Path(new)) as temp:  # a folder that is a link to another disk
            shutil.copy2(old, temp)
        os.unlink(old)
    return True


def _exists(name: str) -> bool:
    return os.path.lexists(name)


def _same(name: str) -> str:
    """Names that some systems hold for the same become the same."""
    return name.casefold()


def _slashed(name: str) -> str:
    return name.replace(os.sep, "/")


def _text(path: Path) -> str:
    return os.path.abspath(path)


def _base_of(journal_folder: Path) -> str:
    """The workspace of `.understudy/changes/src`, with a separator at its end."""
    return os.path.join(Path(_text(journal_folder)).parents[2], "")


def _require_inside(moves: Sequence[Move], roots: Sequence[Path], base: str) -> None:
    """Every name must lie in the workspace, and in one of the roots where there are any."""
    starts = tuple(os.path.join(_text(root), "") for root in roots) or (base,)
    for move in moves:
        for path in (move.old, move.new):
            text = _text(path)
            if not (text.startswith(base) and text.startswith(starts)):
                raise UnsafeFile(f"{path.name[:80]!r} would leave the faceset.", hint="Nothing was moved.", path=path)


def _unfinished(journal_folder: Path) -> list[Path]:
    return _journals(journal_folder, set(_State) - {_State.DONE})


def _finished(journal_folder: Path) -> list[Path]:
    return _journals(journal_folder, {_State.DONE})


def _journals(journal_folder: Path, states: set[_State]) -> list[Path]:
    if not journal_folder.is_dir():
        return []
    found = (path for path in journal_folder.iterdir() if not path.name.startswith("."))
    return sorted((path for path in found if path.suffix in states), key=lambda path: path.name)


def _drop_old(journal_folder: Path) -> None:
    for path in _finished(journal_folder)[:-KEPT]:
        with contextlib.suppress(OSError):
            path.unlink()


def _read(path: Path) -> _Run:
    """A change as its journal tells it. Raises FacesetError for one that makes no sense."""
    try:
        head, *rows = list(_lines(path))
        if head.get("schema") != SCHEMA:
            raise ValueError("another schema")
        base = _base_of(path.parent)
        steps = [_Step(*_names(row, base)) for row in rows if isinstance(row, list)]
        for row in rows:
            if isinstance(row, dict):
                _take_amendment(row, steps, base)
        run = _Run(path, base, str(head["title"]), datetime.fromisoformat(str(head["at"])), steps)
        run.is_resumed = run.state is not _State.DONE
        return run
    except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
        raise FacesetError(
            f"The record of a change of this faceset cannot be read ({error}).",
            hint=f"Files named {ASIDE_PREFIX}… are faces in the middle of a change: rename them by hand, then remove "
            "the record.",
            path=path,
        ) from None


def _lines(path: Path) -> Iterator[Any]:
    """The lines of a journal; a last one that was cut short is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines):
        try:
            yield json.loads(line)
        except ValueError:
            if number != len(lines) - 1:
                raise


def _names(row: list[Any], base: str) -> tuple[str, str | None, str]:
    old, aside, new = row
    return _long(old, base), None if aside is None else _long(aside, base), _long(new, base)


def _long(short: Any, base: str) -> str:
    """The absolute path of a name in a journal, which must be where changes are made: someone may have edited it."""
    parts = Path(str(short)).parts
    if not isinstance(short, str) or not parts or ".." in parts or Path(short).is_absolute() or "\x00" in short:
        raise ValueError("a name in it leads out of the workspace")
    if parts[0] not in _PLACES:
        raise ValueError("a name in it leads out of the facesets")
    return os.path.join(base, *parts)


def _take_amendment(row: dict[str, Any], steps: list[_Step], base: str) -> None:
    for end in ("old", "new"):
        if end in row:
            setattr(steps[int(row["step"])], end, _long(row[end], base))
