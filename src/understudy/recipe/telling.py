"""What a unit reports on its way to the listener: numbered, and with what the report page wants kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from understudy.errors import UnderstudyError
from understudy.recipe.journal import Journal
from understudy.recipe.plan import Unit
from understudy.recipe.report.pictures import shrink
from understudy.recipe.work_clock import WorkClock
from understudy.report import Event, Note, Preview, Progress, Report

MOST_WARNINGS = 200
PREVIEW_WIDTH = 1280
CURVES = ("Loss", "Evaluation")
"""Pictures that a training draws beside its previews: the page has curves of its own."""
KEEP_SECS = 20.0
"""How often the time that a unit has worked is written down."""


class Teller:
    """A report that passes events on. Progress says which unit it is of; warnings and previews are kept for the page.

    before: seconds that earlier runs have worked at this unit.
    """

    def __init__(self, journal: Journal, unit: Unit, total: int, report: Report, before: float) -> None:
        self._journal, self._unit, self._report = journal, unit, report
        self._prefix = f"{unit.number}/{total} "
        self._clock, self._kept_at = WorkClock(before), time.monotonic()
        entry = journal.entry(unit)
        self.warnings: list[list[str]] = list(entry.warnings) if entry else []
        self.previews: list[list[object]] = list(entry.previews) if entry else []
        self._newest: Preview | None = None

    @property
    def seconds(self) -> float:
        """How long this unit has worked, over all its runs."""
        return self._clock.seconds

    def __call__(self, event: Event) -> None:
        self._clock.hear(event)
        if isinstance(event, Progress):
            event = replace(event, step=self._prefix + event.step)
        elif isinstance(event, Note) and event.level == "warning":
            self._warn(event)
        elif isinstance(event, Preview) and event.name not in CURVES:
            self._look_at(event)
        self._report(event)
        if time.monotonic() - self._kept_at > KEEP_SECS:
            self._kept_at = time.monotonic()
            with contextlib.suppress(UnderstudyError):  # a full disk is for the unit's own writes to meet
                self._journal.update(self._unit, seconds=self.seconds)

    def close(self) -> None:
        """Keep the newest preview, as the picture of the end of this unit."""
        if self._newest is not None:
            self._keep(self._newest)

    def _warn(self, event: Note) -> None:
        line = [event.item, event.message]
        if line not in self.warnings and len(self.warnings) < MOST_WARNINGS:
            self.warnings.append(line)

    def _look_at(self, event: Preview) -> None:
        first_of_iteration = self._newest is None or self._newest.iteration != event.iteration
        if first_of_iteration:  # of several sheets the first is the one with everything on it
            self._newest = event
            if not self.previews:
                self._keep(event)

    def _keep(self, event: Preview) -> None:
        """A small copy in the recipe's folder: the sheet itself is drawn over by the next."""
        name = f"{_plain(self._unit.id)}-{event.iteration:07d}.jpg"
        row: list[object] = [event.iteration, name]
        if row in self.previews:
            return
        with contextlib.suppress(OSError, ValueError, UnderstudyError):  # a picture is worth no failed training
            shrink(event.path, self._journal.pictures / name, width=PREVIEW_WIDTH)
            self.previews.append(row)


@contextlib.contextmanager
def telling(journal: Journal, unit: Unit, total: int, report: Report, before: float) -> Iterator[Teller]:
    """A teller for one unit; what it gathered is in the journal afterwards, however the unit ends."""
    teller = Teller(journal, unit, total, report, before)
    try:
        yield teller
    finally:
        teller.close()
        if unit.id in journal.entries:
            changes = {"seconds": teller.seconds, "warnings": teller.warnings, "previews": teller.previews}
            with contextlib.suppress(UnderstudyError):  # a full disk is reported by the unit itself
                journal.update(unit, **changes)


def _plain(text: str) -> str:
    return "".join(char if char.isalnum() or char in "-_" else "-" for char in Path(text).as_posix())
