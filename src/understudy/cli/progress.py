"""Progress as a person sees it, on stderr: bars with rate and time left in a terminal, plain lines anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn
from rich.progress import Progress as Bars

from understudy.report import Event, Metrics, Note, Preview, Progress, Report

PLAIN_LINE_SECS = 10.0
WIDE = 110
"""Columns of a terminal in which a training's numbers fit beside a long bar."""
SUMS = ("src", "dst")
"""The losses of both people, which stand for all others on a line."""


@contextmanager
def drawing(*, verbose: bool) -> Iterator[Report]:
    """A report that draws on stderr until the block ends."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield PlainLines(verbose=verbose)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(40 if console.width >= WIDE else 12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TextColumn("{task.fields[metrics]}", style="cyan"),
    )
    with Bars(*columns, console=console, refresh_per_second=8) as bars:
        yield BarView(bars, verbose=verbose)


class BarView:
    """One bar per step; notes scroll past above, the newest metrics stand beside the bar that counts iterations."""

    def __init__(self, bars: Bars, *, verbose: bool) -> None:
        self._bars, self._verbose = bars, verbose
        self._tasks: dict[str, TaskID] = {}
        self._learning: TaskID | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            self._advance(event)
        elif isinstance(event, Metrics):
            if self._learning is not None and tells_of_losses(event):
                self._bars.update(self._learning, metrics=metrics_text(event))
        elif (line := note_text(event, verbose=self._verbose)) is not None:
            warning = isinstance(event, Note) and event.level == "warning"
            self._bars.console.print(f"[yellow]{escape(line)}[/]" if warning else escape(line))

    def _advance(self, event: Progress) -> None:
        if event.unit == "iterations" and self._learning is not None:
            self._tasks[event.step] = self._learning  # one bar, whether it trains or pauses
            self._bars.update(self._learning, description=escape(event.step))
        elif event.step not in self._tasks:
            self._tasks[event.step] = self._bars.add_task(escape(event.step), total=event.total, pace="", metrics="")
            self._learning = self._tasks[event.step] if event.unit == "iterations" else self._learning
        self._bars.update(
            self._tasks[event.step],
            completed=event.done,
            total=event.total,
            pace=pace_text(event),
        )


class PlainLines:
    """A line per step at its start and end and every few seconds between, for logs and pipes."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._printed_at: dict[str, float] = {}
        self._ended: set[str] = set()
        self._metrics = ""

    def __call__(self, event: Event) -> None:
        if isinstance(event, Progress):
            now = time.monotonic()
            ended = event.total is not None and event.done >= event.total
            due = now - self._printed_at.get(event.step, -1e9) >= PLAIN_LINE_SECS
            if (ended or due) and event.step not in self._ended:
                self._printed_at[event.step] = now
                self._ended |= {event.step} if ended else set()
                _line(progress_text(event, self._metrics if event.unit == "iterations" else ""))
        elif isinstance(event, Metrics):
            self._metrics = metrics_text(event) if tells_of_losses(event) else self._metrics
        elif (line := note_text(event, verbose=self._verbose)) is not None:
            _line(line)


def progress_text(event: Progress, metrics: str = "") -> str:
    """Such as `Extracting faces: 120 of 318 frames, 61.2/s, 3 s left`."""
    count = f"{event.done} of {event.total}" if event.total is not None else f"{event.done}"
    return ", ".join(part for part in (f"{event.step}: {count} {event.unit}", pace_text(event), metrics) if part)


def pace_text(event: Progress) -> str:
    """Rate and time left, as far as they are known."""
    if not event.rate:
        return ""
    pace = step_text(event.rate) if event.unit == "iterations" else rate_text(event.rate)
    if event.total is None or event.done >= event.total:
        return pace
    return f"{pace}, {duration_text((event.total - event.done) / event.rate)} left"


def rate_text(rate: float) -> str:
    """Items per second; slow work reads better in seconds per item."""
    return f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"


def step_text(rate: float) -> str:
    """How long an iteration takes, which is how people compare trainings: `412 ms`, `2.35 s`."""
    return f"{1000 / rate:.0f} ms" if rate > 1 else f"{1 / rate:.2f} s"


def duration_text(secs: float) -> str:
    """A time in the units that matter: `3.2 s`, `45 s`, `4 min 10 s`, `2 h 5 min`."""
    if secs < 9.95:
        return f"{secs:.1f} s"
    whole = round(secs)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def metrics_text(event: Metrics) -> str:
    """The losses that sum up the others: `src 2.9011 dst 3.1860`. Parts, timings and discriminators' losses stay in the
    events."""
    return " ".join(f"{name} {event.values[name]:.4f}" for name in SUMS if name in event.values)


def tells_of_losses(event: Metrics) -> bool:
    """Whether it is of an iteration. What was measured otherwise, such as on held-out faces, is told by a note."""
    return any(name in event.values for name in SUMS)


def note_text(event: Event, *, verbose: bool) -> str | None:
    """The line of a note or a preview; None where it is not for this reader."""
    if isinstance(event, Note) and (event.level != "debug" or verbose):
        return f"{event.item}: {event.message}" if event.item else event.message
    if isinstance(event, Preview) and verbose:
        return f"{event.name}: {event.path}"
    return None


def _line(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
