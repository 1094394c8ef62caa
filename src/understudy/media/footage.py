"""Footage as one thing: a video, a folder of frames or a picture gives frames in order, with exact times.

with open_footage(path) as footage:
    for frame in footage.frames():
        ...
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from understudy.errors import MissingFootage
from understudy.media.info import FootageInfo
from understudy.records import Skipped

if TYPE_CHECKING:
    from understudy.media.frames import Frame

NAMED_AT_MOST = 1000
"""Longer runs of missing frames are named as a range: a list must stay readable and its memory bounded."""


class FrameSource(abc.ABC):
    """Frames of one piece of footage. Each `frames()` reads afresh, so several passes are possible.

    info: what the footage is. skipped: frames that are missing or damaged; grows while frames are read.
    """

    def __init__(self, info: FootageInfo) -> None:
        self.info = info
        self._skipped: dict[str, Skipped] = {}

    @property
    def skipped(self) -> list[Skipped]:
        """Frames named so far, each once, in the order in which they were met."""
        return list(self._skipped.values())

    @property
    def estimated_count(self) -> int | None:
        """How many frames to expect; exact when `info.frames_exact`. None when nothing says."""
        return self.info.frames

    def time_of(self, frame: Frame) -> Fraction:
        """When the frame is shown, in seconds on the footage's own clock; by its number where it has no time."""
        return frame.time if frame.time is not None else self.info.start + frame.index / self.info.nominal_rate

    @abc.abstractmethod
    def frames(self, start: int = 0) -> Iterator[Frame]:
        """Frames in order from position `start` on. What cannot be used is named in `skipped` and left out.

        Raises NoFrames when not one frame of the footage could be used.
        """

    def close(self) -> None:  # noqa: B027 - nothing to let go of unless a source says otherwise
        """Let go of the files."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _skip(self, item: str, reason: str) -> None:
        self._skipped.setdefault(item, Skipped(item, reason))

    def _skip_run(self, first: int, count: int, reason: str) -> None:
        """Name `count` frames from 0-based position `first`, each, or a very long run as one range."""
        if count > NAMED_AT_MOST:
            self._skip(f"{first + 1:05d}.png-{first + count:05d}.png", f"{reason} ({count} frames)")
            return
        for index in range(first, first + count):
            self._skip(f"{index + 1:05d}.png", reason)


def open_footage(path: Path, *, threads: int = 0) -> FrameSource:
    """Open a video, a folder of frames (a numbered sequence or any pictures) or one picture.

    threads: for decoding, 0 uses the cores. Raises MissingFootage when nothing is there, UnreadableMedia when no
    picture can be made of it, NoFrames for a folder without pictures.
    """
    path = Path(path)
    _require(path)
    if path.is_dir() or _is_picture(path):
        from understudy.media.folder import FolderSource

        return FolderSource(path, threads=threads)
    from understudy.media.video import VideoSource

    return VideoSource(path, threads=threads)


def probe(path: Path) -> FootageInfo:
    """What footage is: size, rate, variable or not, exact frame count, tags, tracks, and what is wrong with it.

    Reads a video once through without decoding it. Raises as `open_footage` does.
    """
    path = Path(path)
    _require(path)
    if path.is_dir() or _is_picture(path):
        return open_footage(path).info
    from understudy.media.video import probe_video

    return probe_video(path, count=True)


def _require(path: Path) -> None:
    if not path.exists():
        raise MissingFootage(
            f"There is no file or folder called {path.name}.", hint="Check the name and the folder.", path=path
        )


def _is_picture(path: Path) -> bool:
    """By content: a video container never starts like a picture, and a name proves nothing."""
    from understudy.imaging.files import kind_of

    with path.open("rb") as handle:
        start = handle.read(16)
    return kind_of(start) is not None or (not start and path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"))
