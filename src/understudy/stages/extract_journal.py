"""What extraction has done so far, one line per frame (see `journal`), in any order.

    {"schema": "understudy-extract/2", "footage": "data_src.mp4 123456",
     "settings": {"face_type": "whole_face", "image_size": 512}}
    {"frame": 0, "name": "00001.png", "size": [1920, 1080], "cut": true, "faces": [
      {"rect": [811.5, 200.25, 1010.0, 441.0], "confidence": 0.97, "track": 1, "file": "00001_0.jpg",
       "points": "…", "look": "…", "score": 0.94},
      {"rect": [12.0, 30.5, 80.25, 101.0], "confidence": 0.31, "track": 2, "dropped": "area", "points": "…"}]}
    {"frame": 1, "name": "00002.png", "size": [1920, 1080], "faces": []}
    {"frame": 2, "name": "00003.png", "faces": 1}
    {"skipped": "00009.png", "reason": "it is broken"}
    {"end": true}

- "cut": this frame begins a new shot; left out where it does not.
- "rect": the engine's box in frame pixels. "confidence": see `detection.confidence`; "score": the engine's own.
- "track": who is who within a shot (see `detection.tracking`). "gap": for so many frames this track was not seen.
- "file": the face in the aligned folder, as it was called when it was written. A face without one was "dropped":
  "area" (its crop is more than four times its box: landmarks gone astray), "shape" (landmarks that span no crop),
  "twin" (landmarks on a face that another box had found too), "small" (--min-face), "surplus" (--max-faces).
- "points": the 68 landmarks as found, before any smoothing, in frame pixels: base64 of 136 little-endian float32,
  x and y in turn. "look": base64 of the 6 x 6 x 3 bytes of `detection.tracking.look_of`. Together with "cut" they let a
  resumed run decide tracks and smoothing as if it had never been stopped.
- "faces" is a mere number where no more is known: in journals of schema understudy-extract/1, and for faces that
  another program made.

The journal lies in the workspace's private folder; deleting it makes the next run look at frames without faces again,
no more. `ExtractJournal.read` keeps little of each frame in memory; `seen_frames` walks through all that was seen.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from understudy.detection.options import ExtractOptions
from understudy.detection.tracking import LOOK_SIDE, Look
from understudy.files import parse_json
from understudy.media import FrameSource
from understudy.records import Rect, Side
from understudy.stages.frame_record import FrameRecord
from understudy.stages.journal import Entry, Journal, SafeLines, first_missing
from understudy.workspace import Workspace

SCHEMA = "understudy-extract/2"
EARLIER_SCHEMA = "understudy-extract/1"

FOLDER = "frames"

Points = NDArray[np.float64]


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


@dataclass(frozen=True, eq=False)
class SeenFace:
    """One face that was found in a frame. points: (68, 2) float64 in frame pixels, as found; None where not known.

    file: its name in the aligned folder when it was written; None for one that was dropped, for the reason `dropped`.
    """

    rect: Rect
    confidence: float
    track: int | None = None
    file: str | None = None
    dropped: str = ""
    gap: int = 0
    score: float = 0.0
    points: Points | None = None
    look: Look | None = None


@dataclass(frozen=True, eq=False)
class SeenFrame:
    """One frame that was looked at. size: width, height; None where not known. faces: None where not known which."""

    index: int
    name: str
    faces: tuple[SeenFace, ...] | None
    size: tuple[int, int] | None = None
    is_cut: bool = False


@dataclass(frozen=True)
class Dropped:
    """A face that was found and not written, though nobody asked for that."""

    rect: Rect
    reason: str


NOTABLE = ("area", "shape", "twin")
"""Reasons for dropping a face that are worth a look."""


@dataclass(frozen=True)
class Done:
    """One frame that needs no more work: its place in the footage and how many faces it gave."""

    index: int
    faces: int
    dropped: tuple[Dropped, ...] = ()
    last_track: int = field(default=0, compare=False)
    """The highest track id of the frame."""
    is_cut: bool | None = field(default=None, compare=False)
    """Whether it begins a shot; None where that is not known."""
    offset: int = field(default=-1, compare=False)
    """Where its line begins in the journal; -1 where that is not known."""


@dataclass
class ExtractJournal(Journal):
    """The frames that were looked at."""

    footage: str
    settings: dict[str, Any]
    done: dict[str, Done] = field(default_factory=dict)
    """By the frame's name."""
    _length: int = field(default=0, init=False, repr=False, compare=False)
    """How many bytes of the file are whole lines of the present schema; 0: the file is to be written anew."""

    @classmethod
    def read(cls, path: Path) -> ExtractJournal | None:
        """The journal of an earlier run; None when there is none that can be used."""
        lines = _lines(path)
        first = next(lines, None)
        if first is None or first[1].get("schema") not in (SCHEMA, EARLIER_SCHEMA):
            return None
        head = first[1]
        journal = cls(path, str(head.get("footage")), dict(head.get("settings") or {}))
        journal._length = first[2] if head["schema"] == SCHEMA else 0
        for offset, entry, end in lines:
            journal._take(offset, entry)
            journal._length = end if journal._length else 0
        return journal

    def _take(self, offset: int, entry: Entry) -> None:
        if "frame" not in entry:
            self.take([entry])
            return
        seen = _seen_frame(entry, with_points=False)
        if seen is not None:
            is_counted = seen.faces is None
            self.done[seen.name] = Done(seen.index, entry["faces"]) if is_counted else done_of(seen, offset=offset)

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

    def add(self, name: str, done: Done, made: Iterable[Path], seen: SeenFrame | None = None) -> None:
        """Note that a frame is done. made: its face files, already written. seen: all that is known of it."""
        self.done[name] = done
        self.write(_frame(name, done) if seen is None else entry_of(seen), made)

    def seen(self, name: str) -> SeenFrame | None:
        """All that an earlier run saw in a frame; None where only the number of its faces is known."""
        done = self.done.get(name)
        if done is None or done.offset < 0:
            return None
        try:
            with self.path.open("rb") as file:
                file.seek(done.offset)
                entry = parse_json(file.readline())
        except (OSError, ValueError):
            return None
        found = _seen_frame(entry, with_points=True) if isinstance(entry, dict) else None
        return found if found is not None and found.name == name and found.faces is not None else None

    def head(self) -> Entry:
        return {"schema": SCHEMA, "footage": self.footage, "settings": self.settings}

    def frames(self) -> Iterable[Entry]:
        return (_frame(*item) for item in self.done.items())

    def take_frame(self, entry: Entry) -> None:
        self._take(-1, entry)

    def _open_lines(self) -> SafeLines:
        """Go on after the lines that are there; a film's worth of them is not written anew."""
        return SafeLines(self.path, (), keep=self._length) if self._length else super()._open_lines()


def seen_frames(path: Path, *, with_points: bool = False) -> Iterator[SeenFrame]:
    """Every frame of a journal, one at a time, in the order in which they were finished; nothing where there is none.

    with_points: also decode landmarks and looks.
    """
    for number, (_, entry, _) in enumerate(_lines(path)):
        if number == 0 and entry.get("schema") not in (SCHEMA, EARLIER_SCHEMA):
            return
        seen = _seen_frame(entry, with_points=with_points) if "frame" in entry else None
        if seen is not None:
            yield seen


def entry_of(seen: SeenFrame) -> Entry:
    """The line of a frame."""
    entry: Entry = {"frame": seen.index, "name": seen.name}
    if seen.size is not None:
        entry["size"] = list(seen.size)
    if seen.is_cut:
        entry["cut"] = True
    entry["faces"] = [_face_entry(face) for face in seen.faces or ()]
    return entry


def _face_entry(face: SeenFace) -> Entry:
    rect = face.rect
    entry: Entry = {
        "rect": [rect.left, rect.top, rect.right, rect.bottom],
        "confidence": face.confidence,
        "score": face.score,
    }
    entry |= {"track": face.track} if face.track is not None else {}
    entry |= {"gap": face.gap} if face.gap else {}
    entry |= {"file": face.file} if face.file else {"dropped": face.dropped}
    if face.points is not None:
        entry["points"] = _encoded(face.points.astype("<f4"))
    if face.look is not None:
        entry["look"] = _encoded(face.look)
    return entry


def _encoded(array: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")


def _frame(name: str, done: Done) -> Entry:
    return {"frame": done.index, "name": name, "faces": done.faces}


def done_of(seen: SeenFrame, *, offset: int = -1) -> Done:
    """What is kept in memory of a frame. Its faces must be known."""
    faces = seen.faces or ()
    return Done(
        seen.index,
        sum(face.file is not None for face in faces),
        tuple(Dropped(face.rect, face.dropped) for face in faces if face.dropped in NOTABLE),
        last_track=max((face.track or 0 for face in faces), default=0),
        is_cut=seen.is_cut,
        offset=offset,
    )


def _seen_frame(entry: Entry, *, with_points: bool) -> SeenFrame | None:
    """The record of a line; None where it makes no sense."""
    index, faces, size = entry.get("frame"), entry.get("faces"), entry.get("size")
    if not isinstance(index, int) or not isinstance(faces, (int, list)):
        return None
    try:
        known = None if isinstance(faces, int) else tuple(_seen_face(face, with_points) for face in faces)
        pair = (int(size[0]), int(size[1])) if isinstance(size, list) else None
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, binascii.Error):
        return None
    return SeenFrame(index, str(entry.get("name")), known, pair, entry.get("cut") is True)


def _seen_face(face: Entry, with_points: bool) -> SeenFace:
    points = look = None
    if with_points and "points" in face:
        points = np.frombuffer(base64.b64decode(face["points"]), "<f4").reshape(68, 2).astype(np.float64)
    if with_points and "look" in face:
        look = np.frombuffer(base64.b64decode(face["look"]), np.uint8).reshape(LOOK_SIDE, LOOK_SIDE, 3)
    left, top, right, bottom = map(float, face["rect"])
    return SeenFace(
        rect=Rect(left, top, right, bottom),
        confidence=float(face["confidence"]),
        track=None if face.get("track") is None else int(face["track"]),
        file=None if face.get("file") is None else str(face["file"]),
        dropped=str(face.get("dropped", "")),
        gap=int(face.get("gap", 0)),
        score=float(face.get("score", 0.0)),
        points=points,
        look=look,
    )


def _lines(path: Path) -> Iterator[tuple[int, Entry, int]]:
    """Where each line begins, what it says, and where it ends; lines that are cut short or no JSON are left out."""
    try:
        with path.open("rb") as file:
            offset = 0
            for line in file:
                start, offset = offset, offset + len(line)
                try:
                    entry = parse_json(line)
                except ValueError:
                    continue
                if isinstance(entry, dict) and line.endswith(b"\n"):
                    yield start, entry, offset
    except OSError:
        return
