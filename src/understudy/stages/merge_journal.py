"""What a merge has rendered so far, one line per frame, so that a stopped run goes on where it was.

    {"schema": "understudy-merge/1"}
    {"frame": 0, "name": "00001.png", "key": "5f1c…", "faces": 1, "bytes": [812345, 4321]}
    {"frame": 1, "name": "00002.png", "key": "77a0…", "faces": 1, "bytes": [0, 0], "problem": "…"}
    {"skipped": "00003.png", "reason": "…"}
    {"end": true}

A frame's key is a hash of everything its picture is made from: settings, model and iteration, faces, source. A frame
is up to date when its key is the present one and both its files have the size that was written. The line is written
after the files; a line cut short by a crash is ignored, and its frame is rendered again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from understudy import files
from understudy.records import Skipped

SCHEMA = "understudy-merge/1"


@dataclass(frozen=True)
class Rendered:
    """One frame that was written. sizes: bytes of the picture and of the mask. problem: why it was left original."""

    index: int
    name: str
    key: str
    faces: int
    sizes: tuple[int, int]
    problem: str = ""

    def as_json(self) -> dict[str, Any]:
        body = {"frame": self.index, "name": self.name, "key": self.key, "faces": self.faces, "bytes": list(self.sizes)}
        return {**body, "problem": self.problem} if self.problem else body


@dataclass
class MergeJournal:
    """The frames that are rendered, in memory and on disk. Not thread-safe."""

    path: Path
    rendered: dict[str, Rendered] = field(default_factory=dict)
    """By the frame's name."""
    skipped: list[Skipped] = field(default_factory=list)
    is_complete: bool = False
    """Whether a run has seen the footage to its end."""
    _file: TextIO | None = field(default=None, repr=False)

    @classmethod
    def read(cls, path: Path) -> MergeJournal:
        """The journal of an earlier run; an empty one when there is none that can be used."""
        journal = cls(path)
        try:
            entries = list(_parsed(path.read_text(encoding="utf-8").splitlines()))
        except (OSError, UnicodeDecodeError):
            return journal
        if not entries or entries[0].get("schema") != SCHEMA:
            return journal
        for entry in entries[1:]:
            journal._take(entry)
        return journal

    def __enter__(self) -> Self:
        """Open for adding; what is known so far is written anew, without any cut-short line."""
        with files.os_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lines = [{"schema": SCHEMA}, *(frame.as_json() for frame in self.rendered.values())]
            files.write_text(self.path, "".join(map(_dumped, [*lines, *map(_skip, self.skipped)])))
            self._file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, frame: Rendered) -> None:
        """Note that both files of a frame are written."""
        self.rendered[frame.name] = frame
        self._write(frame.as_json())

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
        if "skipped" in entry:
            self.skipped.append(Skipped(str(entry["skipped"]), str(entry.get("reason", ""))))
        elif entry.get("end") is True:
            self.is_complete = True
        elif (frame := _rendered(entry)) is not None:
            self.rendered[frame.name] = frame


def _rendered(entry: dict[str, Any]) -> Rendered | None:
    try:
        picture, mask = entry["bytes"]
        return Rendered(
            int(entry["frame"]),
            str(entry["name"]),
            str(entry["key"]),
            int(entry["faces"]),
            (int(picture), int(mask)),
            str(entry.get("problem", "")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _skip(item: Skipped) -> dict[str, Any]:
    return {"skipped": item.item, "reason": item.reason}


def _parsed(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _dumped(entry: dict[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"
