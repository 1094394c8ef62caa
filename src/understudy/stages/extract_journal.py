"""What extraction has done so far, one line per frame (see `journal`).

    {"schema": "understudy-extract/1", "footage": "data_src.mp4 123456", "settings": {"face_type": "whole_face", …}}
    {"frame": 0, "name": "00001.png", "faces": 1}
    {"frame": 1, "name": "00002.png", "faces": 0}

The journal lies in the workspace's private folder; deleting it makes the next run look at frames without faces again,
no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.detection.options import ExtractOptions
from understudy.media import FrameSource
from understudy.records import Side
from understudy.stages.frame_record import FrameRecord
from understudy.stages.journal import Entry, Journal, first_missing, read_entries
from understudy.workspace import Workspace

SCHEMA = "understudy-extract/1"


FOLDER = "frames"


def journal_path(workspace: Workspace, side: Side) -> Path:
    """Where the journal of a side is kept."""
    return workspace.private / "extract" / f"{side}.jsonl"


def footage_key(footage: FrameSource, record: FrameRecord | None) -> str:
    """What tells one piece of footage from another: a video's name and size, or which frames the folder holds.

    record: of the side's frames, where there is one.
    """
    path = footage.info.path
    if path.is_file():
        return f"{path.name} {path.stat().st_size}"
    return f"{FOLDER} {record.selection if record is not None else ''}".strip()


def selection_of(key: str) -> str:
    """Which frames of the video a footage key stands for; empty for all, whether in a folder or in the video."""
    return key.removeprefix(FOLDER).strip() if key.startswith(FOLDER) else ""


def settings_of(options: ExtractOptions) -> dict[str, Any]:
    """The options that decide what a face file looks like; a faceset has one set of them."""
    return {"face_type": str(options.face_type), "image_size": options.size}


@dataclass(frozen=True)
class Done:
    """One frame that needs no more work: its place in the footage and how many faces it gave."""

    index: int
    faces: int


@dataclass
class ExtractJournal(Journal):
    """The frames that were looked at."""

    footage: str
    settings: dict[str, Any]
    done: dict[str, Done] = field(default_factory=dict)
    """By the frame's name."""

    @classmethod
    def read(cls, path: Path) -> ExtractJournal | None:
        """The journal of an earlier run; None when there is none that can be used."""
        entries = read_entries(path, SCHEMA)
        if not entries:
            return None
        head, *rest = entries
        journal = cls(path, str(head.get("footage")), dict(head.get("settings") or {}))
        journal.take(rest)
        return journal

    @property
    def is_of_folder(self) -> bool:
        return self.footage.startswith(FOLDER)

    @property
    def faces(self) -> int:
        return sum(done.faces for done in self.done.values())

    @property
    def next_index(self) -> int:
        """Where the first frame of a video that is not done lies."""
        return first_missing(done.index for done in self.done.values())

    def add(self, name: str, done: Done, made: Iterable[Path]) -> None:
        """Note that a frame is done. made: its face files, already written."""
        self.done[name] = done
        self.write(_frame(name, done), made)

    def head(self) -> Entry:
        return {"schema": SCHEMA, "footage": self.footage, "settings": self.settings}

    def frames(self) -> Iterable[Entry]:
        return (_frame(*item) for item in self.done.items())

    def take_frame(self, entry: Entry) -> None:
        if isinstance(entry.get("frame"), int) and isinstance(entry.get("faces"), int):
            self.done[str(entry.get("name"))] = Done(entry["frame"], entry["faces"])


def _frame(name: str, done: Done) -> Entry:
    return {"frame": done.index, "name": name, "faces": done.faces}
