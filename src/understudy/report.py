"""The only way a stage speaks: typed events, handed to whoever listens.

The CLI draws them with rich, a job writes them to its event log, a test passes `events.append`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

Level = Literal["debug", "info", "warning"]


@dataclass(frozen=True)
class Progress:
    """`done` of `total` items of a named step. total None: not known. rate: items per second without start-up."""

    step: str
    done: int
    total: int | None
    unit: str = "frames"
    rate: float | None = None


@dataclass(frozen=True)
class Metrics:
    """Numbers measured at one training iteration, by name."""

    iteration: int
    values: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Preview:
    """A picture that was just drawn, as a file."""

    name: str
    path: Path
    iteration: int = 0


@dataclass(frozen=True)
class Note:
    """One sentence for the reader. info: for the artist; warning: not quite what was asked; debug: for us."""

    message: str
    level: Level = "info"
    item: str = ""


PAUSED = "Paused"
"""The step that a training reports while it pauses."""

Event = Progress | Metrics | Preview | Note
Report = Callable[[Event], None]
Stop = Callable[[], bool]


def silent(event: Event) -> None:
    """A report that nobody hears."""


def never() -> bool:
    """A stop that never comes."""
    return False


class Pace:
    """Counts items and reports progress a few times a second, with a rate that leaves out start-up.

    The clock starts at the first finished item, so loading networks does not dilute the rate. For one thread.
    """

    def __init__(
        self, step: str, total: int | None, report: Report, *, unit: str = "frames", every_secs: float = 0.2
    ) -> None:
        self.step, self.total, self.unit = step, total, unit
        self.done = 0
        self._report, self._every_secs = report, every_secs
        self._first_at: float | None = None
        self._last_report_at = 0.0
        self._last_at = 0.0

    @property
    def rate(self) -> float | None:
        """Items per second between the first finished item and the last; None until two are done."""
        if self._first_at is None or self.done < 2 or self._last_at <= self._first_at:
            return None
        return (self.done - 1) / (self._last_at - self._first_at)

    def advance(self, count: int = 1) -> None:
        """Note that `count` more items are finished."""
        now = time.perf_counter()
        if self._first_at is None:
            self._first_at = now
        self._last_at = now
        self.done += count
        if now - self._last_report_at >= self._every_secs or self.done == self.total:
            self._last_report_at = now
            self.report_now()

    def report_now(self) -> None:
        """Report the present count whatever the clock says."""
        self._report(Progress(self.step, self.done, self.total, self.unit, self.rate))


T = TypeVar("T")


def track(
    items: Iterable[T],
    step: str,
    report: Report = silent,
    stop: Stop = never,
    *,
    total: int | None = None,
    unit: str = "frames",
) -> Iterator[T]:
    """Pass items through, reporting progress after each; ends early when `stop()` turns true."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    pace = Pace(step, total, report, unit=unit)
    for item in items:
        if stop():
            return
        yield item
        pace.advance()
    pace.report_now()
