"""What extraction has done so far, one line per frame, so that a stopped run goes on where it was.

    {"schema": "understudy-extract/1", "footage": "data_src.mp4 123456", "settings": {"face_type": "whole_face", …}}
    {"frame": 0, "name": "00001.png", "faces": 1}
    {"frame": 1, "name": "00002.png", "faces": 0}
    {"skipped": "00003.png", "reason": "…"}
    {"end": true}

A frame's line is written after its faces. A line cut short by a crash is ignored, and its frame is done again. The
journal lies in the workspace's private folder; deleting it makes the next run look at frames without faces again, no
more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from understudy import files
from understudy.detection.options import ExtractOptions
from understudy.media import FrameSource
from understudy.records import Skipped

SCHEMA = "understudy-extract/1"


def footage_key(footage: FrameSource) -> str:
    """What tells one piece of footage from another: a video's name and size, or that it is a folder of frames."""
    path = footage.info.path
    return f"{path.name} {path.stat().st_size}" if path.is_file() else "frames"


def settings_of(options: ExtractOptions) -> dict[str, Any]:
    """The options that decide what a face file looks like; a faceset has one set of them."""
    return {"face_type": str(options.face_type), "image_size": options.size}


@dataclass(frozen=True)
class Done:
    """One frame that needs no more work: its place in the footage and how many faces it gave."""

    index: int
    faces: int


@dataclass
class Journal:
    """The frames that are done, in memory and on disk. Not thread-safe."""

    path: Path
    footage: str
    settings: dict[str, Any]
    done: dict[str, Done] = field(default_factory=dict)
    """By the frame's name."""
    skipped: list[Skipped] = field(default_factory=list)
    is_complete: bool = False
    """Whether a run has seen the footage to its end."""
    _file: TextIO | None = field(default=None, repr=False)

    @classmethod
    def read(cls, path: Path) -> Journal | None:
        """The journal of an earlier run; None when there is none that can be used."""
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return None
        entries = list(_parsed(lines))
        if not entries or entries[0].get("schema") != SCHEMA:
            return None
        journal = cls(path, str(entries[0].get("footage")), dict(entries[0].get("settings") or {}))
        for entry in entries[1:]:
            journal._take(entry)
        return journal

    @property
    def faces(self) -> int:
        return sum(done.faces for done in self.done.values())

    @property
    def next_index(self) -> int:
        """Where the first frame of a video that is not done lies."""
        indices = {done.index for done in self.done.values()}
        return next(index for index in range(len(indices) + 1) if index not in indices)

    def __enter__(self) -> Self:
        """Open for adding; what is known so far is written anew, without any cut-short line."""
        with files.os_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            head = {"schema": SCHEMA, "footage": self.footage, "settings": self.settings}
            lines = [head, *(_frame(*item) for item in self.done.items()), *(_skip(item) for item in self.skipped)]
            files.write_text(self.path, "".join(_dumped(line) for line in lines))
            self._file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(self, *error: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, name: str, done: Done) -> None:
        """Note that a frame is done and its faces are on disk."""
        self.done[name] = done
        self._write(_frame(name, done))

    def skip(self, items: Iterable[Skipped]) -> None:
        """Note what could not be used; what is known already is not repeated."""
        for item in items:
            if item not in self.skipped:
                self.skipped.append(item)
                self._write(_skip(item))

    def finish(self) -> None:
        """Note that the footage has been seen to its end."""
        self.is_complete = True
        self._write({"end": True})

    def _write(self, entry: dict[str, Any]) -> None:
        if self._file is not None:
            with files.os_errors(self.path):
                self._file.write(_dumped(entry))
                self._file.flush()

    def _take(self, entry: dict[str, Any]) -> None:
        if isinstance(entry.get("frame"), int) and isinstance(entry.get("faces"), int):
            self.done[str(entry.get("name"))] = Done(entry["frame"], entry["faces"])
        elif "skipped" in entry:
            self.skipped.append(Skipped(str(entry["skipped"]), str(entry.get("reason", ""))))
        elif entry.get("end") is True:
            self.is_complete = True


def _frame(name: str, done: Done) -> dict[str, Any]:
    return {"frame": done.index, "name": name, "faces": done.faces}


def _skip(item: Skipped) -> dict[str, Any]:
    return {"skipped": item.item, "reason": item.reason}


def _parsed(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _dumped(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
