"""The journal of a change of a faceset: what is written down before the first file moves.

    {"schema": "understudy-change/1", "title": "Sorted by blur", "at": "2026-01-01T12:00:00+00:00"}
    ["data_src/aligned/00001_0.jpg", null, "data_src/aligned/00007.jpg"]              where it was, where it goes
    ["data_src/aligned/00007.jpg", "data_src/aligned/.moving-…", "data_src/aligned/00000.jpg"]
    {"step": 1, "new": "data_src/aligned/00000_2.jpg"}                                 what turned out otherwise

Names are kept from the workspace's root, and never leave it. The suffix of the file says what is under way.
"""
# Paths are texts here: a change of a hundred thousand files takes half the time.
# ruff: noqa: PTH100, PTH118, PTH120

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from understudy import files
from understudy.errors import FacesetError
from understudy.files import parse_json, sync_folder

SCHEMA = "understudy-change/1"
ASIDE_PREFIX = ".moving-"
"""Names that start so are faces in the middle of a change; `changes.recover` brings them to their place."""

_STAMP = "%Y%m%d-%H%M%S-%f"

_PLACES = {"models": ("model", ".understudy")}
"""Folders of a workspace in which files are moved, by the name of the journals' folder; `_FACES` for others."""

_FACES = ("data_src", "data_dst", ".understudy")


class State(StrEnum):
    """What is under way, as the journal's suffix says."""

    ASIDE = ".aside"
    PLACING = ".placing"
    DONE = ".jsonl"
    BACK_FROM_PLACE = ".back-placing"
    BACK_FROM_ASIDE = ".back-aside"


@dataclass
class Step:
    """One file's way. aside: the hidden name between, None where it needs none. All absolute paths as texts."""

    old: str
    aside: str | None
    new: str

    @property
    def start(self) -> str:
        """Where the file waits until it is placed."""
        return self.aside or self.old


@dataclass
class Journal:
    """A change as it is written down. base: the workspace, as `base_of` gives it."""

    path: Path
    base: str
    title: str
    at: datetime
    steps: list[Step]

    @classmethod
    def begin(cls, folder: Path, title: str, steps: list[Step]) -> Journal:
        """A new one, not yet written."""
        at = datetime.now(UTC)
        return cls(folder / (at.strftime(_STAMP) + State.ASIDE), base_of(folder), title, at, steps)

    @classmethod
    def read(cls, path: Path) -> Journal:
        """The journal in that file. Raises FacesetError for one that makes no sense."""
        try:
            head, *rows = list(_lines(path))
            if head.get("schema") != SCHEMA:
                raise ValueError("another schema")
            base, places = base_of(path.parent), _PLACES.get(path.parent.name, _FACES)
            steps = [Step(*_names(row, base, places)) for row in rows if isinstance(row, list)]
            for row in rows:
                if isinstance(row, dict):
                    _take_amendment(row, steps, base, places)
            return cls(path, base, str(head["title"]), datetime.fromisoformat(str(head["at"])), steps)
        except (OSError, ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise FacesetError(
                f"The record of a change of this faceset cannot be read ({error}).",
                hint=f"Files named {ASIDE_PREFIX}… are faces in the middle of a change: rename them by hand, then "
                "remove the record.",
                path=path,
            ) from None

    @property
    def state(self) -> State:
        return State(self.path.suffix)

    @property
    def folders(self) -> set[str]:
        """Where files come from and go to."""
        return {os.path.dirname(name) for step in self.steps for name in (step.old, step.new)}

    def write(self) -> None:
        """Write it, safely on the disk before the first file moves."""
        head = {"schema": SCHEMA, "title": self.title, "at": self.at.isoformat()}
        rows = ([self._short(step.old), self._short(step.aside), self._short(step.new)] for step in self.steps)
        files.write_bytes(self.path, "".join(json.dumps(line) + "\n" for line in (head, *rows)).encode())

    def enter(self, state: State) -> None:
        """Say by its name what is under way now; what was done before is safe by then."""
        if self.state is state:
            return
        self.sync()
        renamed = self.path.with_suffix(state)
        self.path.replace(renamed)
        self.path = renamed
        sync_folder(renamed.parent)

    def amend(self, index: int, end: str, name: str) -> None:
        """Write down that a file goes elsewhere than planned, before it does. end: "old" or "new"."""
        with self.path.open("ab") as file:
            file.write((json.dumps({"step": index, end: self._short(name)}) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        setattr(self.steps[index], end, name)

    def forget(self) -> None:
        """Remove it, when the files are safely back."""
        self.sync()
        self.path.unlink()

    def sync(self) -> None:
        """Make safe on the disk what was renamed."""
        for folder in self.folders:
            sync_folder(Path(folder))

    def _short(self, name: str | None) -> str | None:
        return None if name is None else name[len(self.base) :].replace(os.sep, "/")


def base_of(journal_folder: Path) -> str:
    """The workspace of `.understudy/changes/src`, with a separator at its end."""
    return os.path.join(Path(os.path.abspath(journal_folder)).parents[2], "")


def unfinished(journal_folder: Path) -> list[Path]:
    """Journals of changes that something cut off."""
    return _journals(journal_folder, set(State) - {State.DONE})


def finished(journal_folder: Path) -> list[Path]:
    """Journals of changes that can be undone, the oldest first."""
    return _journals(journal_folder, {State.DONE})


def _journals(journal_folder: Path, states: set[State]) -> list[Path]:
    if not journal_folder.is_dir():
        return []
    found = (path for path in journal_folder.iterdir() if not path.name.startswith("."))
    return sorted((path for path in found if path.suffix in states), key=lambda path: path.name)


def _lines(path: Path) -> Iterator[Any]:
    """The lines of a journal; a last one that was cut short is left out."""
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines):
        try:
            yield parse_json(line)
        except ValueError:
            if number != len(lines) - 1:
                raise


def _names(row: list[Any], base: str, places: tuple[str, ...]) -> tuple[str, str | None, str]:
    old, aside, new = row
    hidden = None if aside is None else _long(aside, base, places)
    return _long(old, base, places), hidden, _long(new, base, places)


def _long(short: Any, base: str, places: tuple[str, ...]) -> str:
    """The absolute path of a name in a journal, which must be where changes are made: someone may have edited it."""
    parts = Path(str(short)).parts
    if not isinstance(short, str) or not parts or ".." in parts or Path(short).is_absolute() or "\x00" in short:
        raise ValueError("a name in it leads out of the workspace")
    if parts[0] not in places:
        raise ValueError("a name in it leads out of the folders that it may change")
    return os.path.join(base, *parts)


def _take_amendment(row: dict[str, Any], steps: list[Step], base: str, places: tuple[str, ...]) -> None:
    for end in ("old", "new"):
        if end in row:
            setattr(steps[int(row["step"])], end, _long(row[end], base, places))
