"""Every frame of a side as far as anything knows of it: the footage, the journal of the extraction, the faces."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError, UsageError
from understudy.facesets.where import number_of_frame
from understudy.records import Side
from understudy.stages.extract_journal import Dropped, ExtractJournal, journal_path
from understudy.stages.shots import Shots, read_shots
from understudy.workspace import Workspace


@dataclass
class Frames:
    """Every frame of the footage. stems: in order. index: by stem. faces: how many each was given, where that is known.

    sizes: (width, height) by index, as far as they are known. shots, journal: where there are any. dropped: by stem,
    what was found in a frame and yet not written.
    """

    stems: list[str]
    index: dict[str, int]
    faces: dict[str, int] | None = None
    sizes: dict[int, tuple[int, int]] = field(default_factory=dict)
    shots: Shots | None = None
    journal: ExtractJournal | None = None
    dropped: dict[str, tuple[Dropped, ...]] = field(default_factory=dict)

    def same_shot(self, one: int, other: int) -> bool:
        """Whether no known cut lies between two frames, by index."""
        return self.shots is None or self.shots.shot_of(one) == self.shots.shot_of(other)

    def named(self, name: str, side: Side) -> str:
        """The stem of the frame that somebody calls 00012, 00012.png or 12. Raises UsageError."""
        stem = Path(name).stem
        if stem in self.index:
            return stem
        if stem.isdecimal():
            found = next((other for other in self.stems if number_of_frame(other) == int(stem)), None)
            if found is not None:
                return found
        there = f"They are called {self.stems[0]} to {self.stems[-1]}." if self.stems else "It has no frames at all."
        raise UsageError(f"There is no frame {name} in {side}.", hint=there)

    def learn(self, by_frame: Iterable[str]) -> None:
        """Add frames that only faces know of: a faceset whose footage is gone, or was named otherwise."""
        unknown = sorted(stem for stem in by_frame if stem not in self.index)
        for place, stem in enumerate(unknown):
            number = number_of_frame(stem)
            self.index[stem] = number - 1 if number else len(self.stems) + place
        self.stems = sorted([*self.stems, *unknown], key=lambda stem: (self.index[stem], stem))


class _OneSize(dict[int, tuple[int, int]]):
    """The same size for every frame."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._size = size

    def get(self, key: int, default: Any = None) -> Any:
        return self._size


def all_frames(workspace: Workspace, side: Side) -> Frames:
    """Frames by the footage and by the journal of the extraction, which knows how many faces each was given."""
    journal = ExtractJournal.read(journal_path(workspace, side))
    sizes, index, shots = _footage_frames(workspace, side)
    faces, dropped = None, {}
    if journal is not None and journal.done:
        index = {Path(name).stem: done.index for name, done in journal.done.items()}
        faces = {Path(name).stem: done.faces for name, done in journal.done.items()}
        dropped = {Path(name).stem: done.dropped for name, done in journal.done.items() if done.dropped}
    stems = sorted(index, key=lambda stem: (index[stem], stem))
    return Frames(stems, index, faces, sizes, shots, journal, dropped)


def _footage_frames(
    workspace: Workspace, side: Side
) -> tuple[dict[int, tuple[int, int]], dict[str, int], Shots | None]:
    """The frames' sizes, and their places by stem; empty where there is no footage of known length. And its shots."""
    from understudy.media import FootageKind
    from understudy.media.folder import list_pictures

    try:
        with workspace.footage(side) as footage:
            info, shots = footage.info, read_shots(workspace, side, footage)
    except UnderstudyError:  # a faceset without its footage is reviewed all the same
        return {}, {}, None
    sizes = {} if info.kind is FootageKind.PHOTOS else _OneSize((info.width, info.height))
    if info.path.is_dir():
        return sizes, {path.stem: place for place, path in list_pictures(info.path).files}, shots
    count = info.frames or 0 if info.frames_exact else 0
    return sizes, {f"{place + 1:05d}": place for place in range(count)}, shots
