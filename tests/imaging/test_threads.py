"""OpenCV's own threads: off inside, as before outside."""

from __future__ import annotations

import cv2

from understudy.imaging.threads import one_thread_per_call


def test_one_thread_inside_and_as_before_outside() -> None:
    before, inside = cv2.getNumThreads(), 0
    cv2.setNumThreads(3)
    try:
        with one_thread_per_call():
            inside = cv2.getNumThreads()
        assert (inside, cv2.getNumThreads()) == (1, 3)
    finally:
        cv2.setNumThreads(before)
