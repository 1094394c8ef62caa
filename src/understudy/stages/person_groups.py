"""The person groups of a faceset: kept in the faces themselves, written so that a killed process leaves no mixture.

    .understudy/persons/src.json            which names the user gave, which faces show a person best
    .understudy/persons/src.pending.json    groups that are being written: whoever writes next finishes them

A multi-person faceset has its groups as sub-folders; there the groups change by moving files, as one change.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from understudy.errors import Interrupted, UnderstudyError, UsageError
from understudy.facesets import Catalog, FaceEntry, read_meta, write_meta
from understudy.facesets.changes import Move, apply
from understudy.facesets.reading import each_item
from understudy.files import os_errors, parse_json, write_json, write_text
from understudy.records import Side, Skipped
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.face_changes import require_loose, writing_faces
from understudy.workspace import Workspace

SCHEMA = "understudy-persons/1"
LONGEST_NAME = 80


@dataclass
class Notebook:
    """What is known of the groups beyond the faces: names the user gave, and the faces that show each person best."""

    own: set[str] = field(default_factory=set)
    shown: dict[str, list[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, "own": sorted(self.own), "shown": dict(sorted(self.shown.items()))}


def notebook_path(workspace: Workspace, side: Side) -> Path:
    return workspace.private / "persons" / f"{side}.json"


def pending_path(workspace: Workspace, side: Side) -> Path:
    return workspace.private / "persons" / f"{side}.pending.json"


def sheet_path(workspace: Workspace, side: Side) -> Path:
    """Where the contact sheet of a side's persons lies."""
    return workspace.private / "persons" / f"{side}.png"


def read_notebook(workspace: Workspace, side: Side) -> Notebook:
    """The notebook; an empty one when there is none, or none that makes sense: the groups are in the faces."""
    stored = _read_json(notebook_path(workspace, side))
    own, shown = stored.get("own"), stored.get("shown")
    return Notebook(
        {name for name in own if isinstance(name, str)} if isinstance(own, list) else set(),
        {name: _texts(keys) for name, keys in shown.items()} if isinstance(shown, dict) else {},
    )


class Groups:
    """The groups of one faceset, open for writing."""

    def __init__(
        self, workspace: Workspace, side: Side, catalog: Catalog, report: Report = silent, stop: Stop = never
    ) -> None:
        self.workspace, self.side, self.catalog = workspace, side, catalog
        self.report, self.stop = report, stop
        self.notebook = read_notebook(workspace, side)
        self.skipped: list[Skipped] = []
        self._finish_pending()
        self.faces = catalog.require_faces()

    @property
    def in_folders(self) -> bool:
        """Whether the groups are sub-folders."""
        return bool(self.catalog.persons)

    @property
    def by_name(self) -> dict[str, list[FaceEntry]]:
        """The faces of every group."""
        return by_name(self.faces)

    def require(self, names: Sequence[str]) -> list[str]:
        """The names as they are written; letter case may differ where it is clear. Raises UsageError for others."""
        known = list(self.by_name)
        found = [_as_known(name, known) for name in names]
        unknown = [name for name, match in zip(names, found, strict=True) if match is None]
        if not known:
            raise UsageError(
                "The faces are not grouped by person yet.",
                hint=f"Group them: understudy faceset persons {self.side} find",
            )
        if unknown:
            raise UsageError(f"There is no person {', '.join(unknown)}.", hint=f"There are: {', '.join(known[:30])}.")
        return list(dict.fromkeys(name for name in found if name is not None))

    def regroup(self, wanted: Mapping[str, str], *, title: str) -> None:
        """Give faces, by key, to groups. Raises Interrupted: what is left to do is then done by the next command."""
        if self.in_folders:
            self._move(wanted, title)
        else:
            self._write(wanted)
        self.faces = self.catalog.require_faces()

    def to_folders(self) -> None:
        """Move every group into a sub-folder of its name, as one change; nothing may stay outside of them."""
        if self.in_folders:
            return
        ungrouped = sum(face.group is None for face in self.faces)
        if ungrouped or self.catalog.skipped:
            others = ungrouped + len(self.catalog.skipped)
            raise UsageError(
                f"{others} pictures belong to nobody; beside them, faces in sub-folders would not be seen.",
                hint=f"Group first: understudy faceset persons {self.side} find. Move pictures that are no faces away.",
            )
        for name in self.by_name:
            valid_name(name)
        self._move({face.key: face.group for face in self.faces if face.group}, "Sorted into a folder per person")
        self.faces = self.catalog.require_faces()

    def save(self, *coming: str) -> None:
        """Write the notebook, with what it knows of names that are in use, or are coming into use with what follows."""
        known = {*by_name(self.faces), *coming}
        keys = {face.key for face in self.faces}
        self.notebook.own &= known
        shown = {name: [key for key in kept if key in keys] for name, kept in self.notebook.shown.items()}
        self.notebook.shown = {name: kept for name, kept in shown.items() if name in known and kept}
        with os_errors(notebook_path(self.workspace, self.side)):
            notebook_path(self.workspace, self.side).parent.mkdir(parents=True, exist_ok=True)
            write_json(notebook_path(self.workspace, self.side), self.notebook.as_json())

    # -- inside

    def _move(self, wanted: Mapping[str, str], title: str) -> None:
        folder = self.catalog.folder
        names = {face.key: face.name for face in self.faces}
        moves = [Move(folder / key, folder / name / names[key]) for key, name in wanted.items() if key in names]
        change = apply(
            moves,
            title=title,
            journal_folder=self.workspace.changes(self.side),
            roots=(folder,),
            report=self.report,
            stop=self.stop,
        )
        self.skipped += change.skipped
        keys = change.keys(folder)
        self.catalog.renamed(keys)
        renamed = dict(keys)
        shown = self.notebook.shown
        self.notebook.shown = {name: [renamed.get(key, key) for key in kept] for name, kept in shown.items()}
        for emptied in {(folder / key).parent for key, _ in keys} - {folder}:
            with suppress(OSError):  # not empty: something else is in it
                emptied.rmdir()

    def _write(self, wanted: Mapping[str, str]) -> None:
        """Write groups into face files; the list of them lies on the disk while that lasts."""
        changed = [face for face in self.faces if wanted.get(face.key, face.group) != face.group]
        if not changed:
            return
        pending = pending_path(self.workspace, self.side)
        rows = {face.key: [wanted[face.key], face.source_filename] for face in changed}
        with os_errors(pending):
            pending.parent.mkdir(parents=True, exist_ok=True)
            write_text(pending, json.dumps({"schema": SCHEMA, "groups": rows}))
        self._give([(face, wanted[face.key]) for face in changed])

    def _finish_pending(self) -> None:
        """Finish what a killed or interrupted process left."""
        rows = _read_json(pending_path(self.workspace, self.side)).get("groups")
        if isinstance(rows, dict) and not self.catalog.persons:
            todo = [
                (face, name)
                for face in self.catalog.faces()
                if (name := _pending_name(rows.get(face.key), face)) is not None and name != face.group
            ]
            if todo:
                self.report(Note(f"Finishing the groups of {len(todo)} faces that an earlier run left undone."))
            self._give(todo)
        elif pending_path(self.workspace, self.side).exists():
            self._drop_pending()

    def _give(self, todo: Sequence[tuple[FaceEntry, str]]) -> None:
        def write(item: tuple[FaceEntry, str]) -> Skipped | None:
            face, name = item
            try:
                write_meta(face.path, read_meta(face.path).but(group=name))
            except UnderstudyError as error:
                if face.path.exists() and error.code not in ("unreadable-face", "unsafe-file", "faceset-error"):
                    raise
                return Skipped(face.key, str(error.context.get("reason", error.message)))
            return None

        done = 0
        for _, skipped in each_item(todo, write, step="Writing groups", report=self.report, stop=self.stop):
            done += 1
            self.skipped += [skipped] if skipped is not None else []
        self.catalog.refresh()
        if done < len(todo):
            raise Interrupted(
                f"Stopped with {done} of {len(todo)} groups written.",
                hint=f"The rest is written by the next: understudy faceset persons {self.side}",
            )
        self._drop_pending()

    def _drop_pending(self) -> None:
        with os_errors(pending_path(self.workspace, self.side)):
            pending_path(self.workspace, self.side).unlink(missing_ok=True)


@contextmanager
def opened(workspace: Workspace, side: Side, report: Report = silent, stop: Stop = never) -> Iterator[Groups]:
    """The groups of a side, for its one writer. Raises Busy, EmptyFaceset, and UsageError for a packed faceset."""
    with writing_faces(workspace, side) as folder:
        require_loose(workspace, side)
        with Catalog.open(folder, cache=workspace.catalogs, report=report, stop=stop) as catalog:
            yield Groups(workspace, side, catalog, report, stop)


def by_name(faces: Sequence[FaceEntry]) -> dict[str, list[FaceEntry]]:
    """Faces by person, the one with most faces first; faces of nobody are left out."""
    found: dict[str, list[FaceEntry]] = defaultdict(list)
    for face in faces:
        if face.who is not None:
            found[face.who].append(face)
    return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))


def valid_name(name: str) -> str:
    """A name that a group and a folder can have. Raises UsageError."""
    text = name.strip()
    is_plain = text and text == Path(text).name and not text.startswith(".") and not text.endswith(".")
    if not is_plain or any(c in text for c in '\\/:*?"<>|,=') or any(ord(c) < 32 for c in text):
        raise UsageError(
            f"{name!r} cannot be a person's name.", hint="Use letters, digits, spaces, - and _; it may become a folder."
        )
    if len(text.encode("utf-8", "replace")) > LONGEST_NAME or text.casefold() in _RESERVED:
        raise UsageError(f"{text[:40]!r} cannot be a person's name on every system.", hint="Choose a shorter one.")
    return text


_RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(1, 10))}


def ungrouped(faces: Sequence[FaceEntry]) -> int:
    """How many faces belong to nobody."""
    return Counter(face.who is None for face in faces)[True]


def _as_known(name: str, known: Sequence[str]) -> str | None:
    if name in known:
        return name
    alike = [other for other in known if other.casefold() == name.strip().casefold()]
    return alike[0] if len(alike) == 1 else None


def _pending_name(row: Any, face: FaceEntry) -> str | None:
    """The group a pending row gives to a face; None where the file of that name is another face by now."""
    if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str)) or row[1] != face.source_filename:
        return None
    return row[0]


def _texts(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str)] if isinstance(values, list) else []


def _read_json(path: Path) -> dict[str, Any]:
    try:
        stored = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) and stored.get("schema") == SCHEMA else {}
