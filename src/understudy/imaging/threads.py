"""How many threads OpenCV may start for one call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2


@contextlib.contextmanager
def one_thread_per_call() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own, for work that is already spread over the cores frame by frame."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
