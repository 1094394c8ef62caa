"""Engines by name."""

from __future__ import annotations

from understudy.detection.found import Engine
from understudy.detection.options import Accuracy
from understudy.errors import InvalidOption

ENGINES = ("mediapipe",)
"""Names that `load_engine` knows."""


def load_engine(
    name: str = "mediapipe", *, threads: int = 1, device: str = "cpu", accuracy: Accuracy = Accuracy.HIGH
) -> Engine:
    """Load a face engine for use in one thread.

    threads: how many cores one call may use; several engines with one thread each are faster in total. device: "cpu"
    is all that the mediapipe engine has. Raises InvalidOption for an unknown name, MissingEngine when its files are
    not there.
    """
    if name == "mediapipe":
        from understudy.detection.finder import MediapipeEngine

        return MediapipeEngine(threads=threads, accuracy=Accuracy(accuracy))
    raise InvalidOption(f"There is no face engine called {name!r}.", hint=f"Engines: {', '.join(ENGINES)}.")
