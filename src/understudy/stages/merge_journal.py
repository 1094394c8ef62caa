"""What a merge has rendered so far, one line per frame (see `journal`).

    {"schema": "understudy-merge/1"}
    {"frame": 0, "name": "00001.png", "key": "5f1c…", "faces": 1, "bytes": [812345, 4321]}
    {"frame": 1, "name": "00002.png", "key": "77a0…", "faces": 1, "bytes": [0, 0], "problem": "…"}

A frame's key is a hash of everything its picture is made from: settings, model and iteration, faces, source. A frame
is up to date when its key is the present one and both its files have the size that was written.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from understudy.stages.journal import Entry, Journal, first_missing, read_entries

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

    def as_json(self) -> Entry:
        body = {"frame": self.index, "name": self.name, "key": self.key, "faces": self.faces, "bytes": list(self.sizes)}
        return {**body, "problem": self.problem} if self.problem else body


@dataclass
class MergeJournal(Journal):
    """The frames that are rendered."""

    rendered: dict[str, Rendered] = field(default_factory=dict)
    """By the frame's name."""

    @classmethod
    def read(cls, path: Path) -> MergeJournal:
        """The journal of an earlier run; an empty one when there is none that can be used."""
        journal = cls(path)
        journal.take(read_entries(path, SCHEMA)[1:])
        return journal

    @property
    def next_index(self) -> int:
        """Where the first frame that is not rendered lies."""
        return first_missing(frame.index for frame in self.rendered.values())

    def add(self, frame: Rendered, made: Iterable[Path]) -> None:
        """Note that a frame is rendered. made: its picture and its mask, already written."""
        self.rendered[frame.name] = frame
        self.write(frame.as_json(), made)

    def head(self) -> Entry:
        return {"schema": SCHEMA}

    def frames(self) -> Iterable[Entry]:
        return (frame.as_json() for frame in self.rendered.values())

    def take_frame(self, entry: Entry) -> None:
        try:
            picture, mask = entry["bytes"]
            frame = Rendered(
                int(entry["frame"]),
                str(entry["name"]),
                str(entry["key"]),
                int(entry["faces"]),
                (int(picture), int(mask)),
                str(entry.get("problem", "")),
            )
        except (KeyError, TypeError, ValueError):
            return
        self.rendered[frame.name] = frame
