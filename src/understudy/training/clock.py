"""Where the time of training goes: data apart from the step. For people only; nothing that is saved depends on it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator


class Clock:
    """Seconds since the last reading: in all, and waiting for data."""

    def __init__(self) -> None:
        self._since = time.perf_counter()
        self._data_secs = 0.0
        self._iterations = 0

    @contextlib.contextmanager
    def data(self) -> Iterator[None]:
        """Count the block as time spent on data, and as the start of one iteration."""
        before = time.perf_counter()
        yield
        self._data_secs += time.perf_counter() - before
        self._iterations += 1

    def read(self) -> dict[str, float]:
        """`seconds` per iteration and `data_share` (0..1) since the last reading, which this one becomes."""
        now = time.perf_counter()
        spent, count = now - self._since, max(1, self._iterations)
        found = {"seconds": spent / count, "data_share": self._data_secs / spent if spent > 0 else 0.0}
        self._since, self._data_secs, self._iterations = now, 0.0, 0
        return found

    def skip(self) -> None:
        """Leave out the time since the last reading: saving and drawing are no part of an iteration."""
        self.read()
