"""OpenCV's own threads: off inside, as before outside."""

from __future__ import annotations

import cv2
import pytest

from understudy.imaging.threads import one_thread_per_call


def test_one_thread_inside_and_as_before_outside() -> None:
    before = cv2.getNumThreads()
    cv2.setNumThreads(3)
    try:
        with pytest.raises(ValueError, match="on the way"), one_thread_per_call():
            assert cv2.getNumThreads() == 1
            raise ValueError("on the way")
        assert cv2.getNumThreads() == 3
    finally:
        cv2.setNumThreads(before)
