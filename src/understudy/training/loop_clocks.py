"""When a training saves, and how fast it says it is. For people only; nothing that is learned depends on a clock."""

from __future__ import annotations

import time
from collections import deque

from understudy.report import Progress, Report

STEP_NAME = "Training"
PROGRESS_SECS = 0.2
WINDOW_SECS = 30.0
"""Over how long the rate is taken: long enough to be calm, short enough to follow a change of the batch or the GAN."""


class SaveClock:
    """When to save: every so many minutes, and right after the first iteration of a new model, so that a disk without
    room or permission shows at once and not after the first interval."""

    def __init__(self, *, first: bool) -> None:
        self._first = first
        self._last = time.monotonic()  # a clock that is set back or forth neither causes nor skips a save

    def due(self, minutes: float) -> bool:
        return self._first or time.monotonic() - self._last >= minutes * 60

    def done(self) -> None:
        self._first, self._last = False, time.monotonic()


class ProgressClock:
    """Reports the iteration a few times a second, with the rate of the last while. The first iteration, with its
    start-up, does not count."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._seen: deque[tuple[float, int]] = deque()  # when which iteration was done, oldest first

    def advance(self, iteration: int, target_iter: int) -> None:
        """Note that an iteration is done."""
        now = time.perf_counter()
        if self._seen and now - self._seen[-1][0] < PROGRESS_SECS:
            return
        self._seen.append((now, iteration))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW_SECS:
            self._seen.popleft()
        self.end(iteration, target_iter)

    def leave_out(self) -> None:
        """Count anew from the next iteration: what has just passed was no training."""
        self._seen.clear()

    def end(self, iteration: int, target_iter: int) -> None:
        """Report now, whatever the clock says."""
        self._report(Progress(STEP_NAME, iteration, target_iter or None, "iterations", self._rate(iteration)))

    def _rate(self, iteration: int) -> float | None:
        """Iterations per second; None until two are done."""
        if not self._seen or iteration <= self._seen[0][1]:
            return None
        start, first = self._seen[0]
        return (iteration - first) / (time.perf_counter() - start)
