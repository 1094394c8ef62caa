"""How long a unit of a recipe has worked, by what it reports."""

from __future__ import annotations

import time

from understudy.report import PAUSED, Event, Progress


class WorkClock:
    """Seconds since it was made, beside those `before`; the time of a pause is not counted."""

    def __init__(self, before: float = 0.0) -> None:
        self._before = before
        self._since: float | None = time.monotonic()

    @property
    def seconds(self) -> float:
        return self._before + (0.0 if self._since is None else time.monotonic() - self._since)

    def hear(self, event: Event) -> None:
        """Note when a training pauses and when it goes on."""
        if not isinstance(event, Progress) or event.unit != "iterations":
            return
        if event.step == PAUSED:
            self._before, self._since = self.seconds, None
        elif self._since is None:
            self._since = time.monotonic()
