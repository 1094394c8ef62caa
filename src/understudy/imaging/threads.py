"""How many threads OpenCV and NumPy's linear algebra may start for one call."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import cv2
from threadpoolctl import threadpool_limits


@contextlib.contextmanager
def one_thread_per_call() -> Iterator[None]:
    """Keep libraries from starting threads of their own, for work that is already spread over the cores item by item.

    Threads that wait for each other in every small product cost more than they give: half of the time of some measures.
    """
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        cv2.setNumThreads(before)
