"""Bringing all files of a change to one end, whatever happens on the way."""
# Paths are texts here: a change of a hundred thousand files takes half the time.
# ruff: noqa: PTH103, PTH104, PTH108, PTH119, PTH120, PTH122

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from understudy import files
from understudy.errors import Interrupted, UnderstudyError
from understudy.facesets.change_journal import Journal, State, Step
from understudy.records import Skipped
from understudy.report import Pace, Report, Stop, never, silent


class Run:
    """A change on its way: brings every file to the one end or the other, from wherever a killed process left it.

    Both ways lead through the same middle, in which the files that need it are aside and no other has moved. As long as
    the journal's suffix says which half is under way, the files that are there tell what has been done of it.

    is_resumed: whether files may be anywhere on their way, so that one that is not where it begins may have arrived.
    undoes: whether the user asked for the old names; what is said of the work depends on it.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        is_resumed: bool = False,
        undoes: bool = False,
        report: Report = silent,
        stop: Stop = never,
    ) -> None:
        self.journal, self.steps, self.is_resumed = journal, journal.steps, is_resumed
        self.undoes, self.report, self.stop = undoes, report, stop
        self.skipped: list[Skipped] = []
        self.moved: set[int] = set()
        """Steps whose file is at the end that was last headed for."""
        self.moved_here = False
        """Whether this process has begun to move them, and so knows which it has."""

    def forth(self) -> None:
        """To the new names."""
        self._begin(step.new for step in self.steps)
        if self.journal.state in (State.ASIDE, State.BACK_FROM_ASIDE):
            self.journal.enter(State.ASIDE)
            self._each(self._step_aside)
        self.journal.enter(State.PLACING)
        self._each(self._place)
        self.journal.enter(State.DONE)

    def back(self) -> None:
        """To the old names; then the change is forgotten."""
        self._begin(step.old for step in self.steps)
        if self.journal.state in (State.DONE, State.PLACING, State.BACK_FROM_PLACE):
            self.journal.enter(State.BACK_FROM_PLACE)
            self._each(self._take_back)
        self.journal.enter(State.BACK_FROM_ASIDE)
        self._each(self._return)
        self.journal.forget()

    def give_up(self, way_back: Callable[[], None]) -> None:
        """Go the other way after something went wrong; what fails again is left for `recover`."""
        self.stop, self.report, self.is_resumed = never, silent, True
        with contextlib.suppress(OSError, UnderstudyError):
            way_back()

    # -- one file at a time: each is a single rename, and does nothing where it has been done already

    def _step_aside(self, index: int, step: Step) -> None:
        if step.aside is not None and not exists(step.aside):
            _rename(step.old, step.aside)

    def _place(self, index: int, step: Step) -> None:
        if index in self._stayed and step.aside is None and exists(step.new):
            self.moved.add(index)
            return
        if exists(step.start):
            if exists(step.new):
                self.journal.amend(index, "new", free_name(step.new))
            if _rename(step.start, step.new):
                self.moved.add(index)
                return
        self._miss(index, step.new, step.old)

    def _take_back(self, index: int, step: Step) -> None:
        if step.aside is not None:
            if not exists(step.aside):
                _rename(step.new, step.aside)
        elif index in self._stayed and exists(step.old):
            self.moved.add(index)
        else:
            self._restore(index, step, step.new)

    def _return(self, index: int, step: Step) -> None:
        if step.aside is not None:
            self._restore(index, step, step.aside)
        elif self.is_resumed and exists(step.old):
            self.moved.add(index)

    def _restore(self, index: int, step: Step, source: str) -> None:
        if exists(source):
            if exists(step.old):
                self.journal.amend(index, "old", free_name(step.old))
            if _rename(source, step.old):
                self.moved.add(index)
                return
        self._miss(index, step.old, step.new)

    def _miss(self, index: int, end: str, name: str) -> None:
        """A file that is not where its way begins: it has arrived before, or is gone."""
        if self.is_resumed and exists(end):
            self.moved.add(index)
        else:
            self.skipped.append(Skipped(os.path.basename(name), "it is no longer there"))

    # -- inside

    def _begin(self, ends: Iterable[str]) -> None:
        """Make the folders, and forget what the other way has done, but for which files it had not reached."""
        for folder in {os.path.dirname(end) for end in ends}:
            os.makedirs(folder, exist_ok=True)
        halfway = self.is_resumed and self.journal.state in (State.PLACING, State.BACK_FROM_PLACE)
        self._stayed = set(range(len(self.steps))) - self.moved if halfway and self.moved_here else set()
        self.moved, self.moved_here = set(), True

    def _each(self, do: Callable[[int, Step], None]) -> None:
        pace = Pace("Bringing back" if self.undoes else "Renaming", len(self.steps), self.report, unit="files")
        for index, step in enumerate(self.steps):
            if self.stop():
                raise Interrupted(
                    "Stopped while files were brought back; every file is where it was before."
                    if self.undoes
                    else "Stopped while files were renamed; every file is back under its old name.",
                    hint="Run the same command again.",
                )
            do(index, step)
            pace.advance()


def free_name(name: str, *, taken: Iterable[str] = (), leaving: Iterable[str] = ()) -> str:
    """The name, or with _2, _3 … before its suffix: the first that no file has, but for files that are leaving."""

    def is_free(candidate: str) -> bool:
        key = same(candidate)
        return key not in taken and (key in leaving or not exists(candidate))

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
        if exists(old):
            raise  # then it is the new name's folder that is not there
        return False
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with files.writing(Path(new)) as temp:  # a folder that is a link to another disk
            shutil.copy2(old, temp)
        os.unlink(old)
    return True


def exists(name: str) -> bool:
    """Whether there is anything of that name, a link that leads nowhere included."""
    return os.path.lexists(name)


def same(name: str) -> str:
    """Names that some systems hold for the same become the same."""
    return name.casefold()
