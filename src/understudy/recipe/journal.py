"""What of a recipe is done in a workspace, as one file that is always whole.

.understudy/recipes/NAME/
    journal.json     every unit: its key, how it stands, what came of it
    recipe.toml      the recipe as it was run last
    pictures/        previews at the ends of phases, for the report
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from understudy.errors import WorkspaceError
from understudy.files import parse_json, write_json
from understudy.recipe.plan import Unit
from understudy.workspace import Workspace

SCHEMA, VERSION = "understudy.recipe-journal", 1
MOST_RESULT = 100_000
"""What of a result is longer as JSON, such as the list of every face, is not kept."""


class State(StrEnum):
    """How a unit stands. passed: it was not run because it was said to begin after it."""

    RUNNING = "running"
    DONE = "done"
    PASSED = "passed"


@dataclass(frozen=True)
class Entry:
    """One unit's line. began, ended: seconds of the epoch; seconds: that it worked, over all its runs.

    start: the iteration that a phase begins at. mark: what the unit found before it began, by which it is told whether
    a process that was killed had finished it. result: as the stage's JSON. warnings: [item, message], in order.
    """

    key: str
    state: State
    began: float = 0.0
    ended: float = 0.0
    seconds: float = 0.0
    start: int | None = None
    mark: str | None = None
    again: bool = False
    result: dict[str, Any] = field(default_factory=dict)
    warnings: list[list[str]] = field(default_factory=list)
    previews: list[list[Any]] = field(default_factory=list)


class Journal:
    """The entries of one recipe in one workspace, in memory and on the disk. One writer at a time."""

    def __init__(self, folder: Path, entries: dict[str, Entry], facts: dict[str, Any]) -> None:
        self.folder = folder
        self.entries = entries
        self.facts = facts

    @classmethod
    def open(cls, workspace: Workspace, name: str) -> Journal:
        """Read it, or begin an empty one in memory. Raises WorkspaceError for one that cannot be read."""
        folder = workspace.private / "recipes" / name
        path = folder / "journal.json"
        if not path.is_file():
            return cls(folder, {}, {})
        try:
            body = parse_json(path.read_bytes())
            if body["schema"] != SCHEMA or body["version"] > VERSION:
                raise ValueError(f"it is {body['schema']} {body['version']}")
            entries = {id_: Entry(**{**entry, "state": State(entry["state"])}) for id_, entry in body["units"].items()}
            return cls(folder, entries, dict(body["facts"]))
        except (ValueError, KeyError, TypeError) as error:
            raise WorkspaceError(
                f"The journal of the recipe {name} cannot be read: {error}",
                hint=f"Begin it anew with --replace; what the steps made stays. The file: {path}",
                path=path,
            ) from error

    @classmethod
    def open_or_empty(cls, workspace: Workspace, name: str) -> Journal:
        """Read it, or begin an empty one also where it cannot be read."""
        try:
            return cls.open(workspace, name)
        except WorkspaceError:
            return cls(workspace.private / "recipes" / name, {}, {})

    @property
    def pictures(self) -> Path:
        return self.folder / "pictures"

    def entry(self, unit: Unit) -> Entry | None:
        """What is known of a unit, of this or of an earlier form of it."""
        return self.entries.get(unit.id)

    def settled(self, unit: Unit) -> bool:
        """Whether a unit, just as it is, is done or was passed over."""
        entry = self.entry(unit)
        return entry is not None and entry.key == unit.key and entry.state is not State.RUNNING

    def put(self, unit: Unit, entry: Entry) -> None:
        """Set a unit's entry and write the journal. Raises DiskFull, ReadOnlyWorkspace."""
        self.entries[unit.id] = entry
        self.write()

    def update(self, unit: Unit, **changes: Any) -> Entry:
        """Change some of a unit's entry and write the journal."""
        entry = replace(self.entries[unit.id], **changes)
        self.put(unit, entry)
        return entry

    def finish(self, unit: Unit, result: dict[str, Any], seconds: float) -> Entry:
        """Note that a unit is done."""
        kept = {name: value for name, value in result.items() if len(json.dumps(value, default=str)) <= MOST_RESULT}
        return self.update(unit, state=State.DONE, ended=time.time(), seconds=seconds, result=kept, mark=None)

    def write(self) -> None:
        units = {id_: asdict(entry) for id_, entry in self.entries.items()}
        write_json(
            self.folder / "journal.json", {"schema": SCHEMA, "version": VERSION, "facts": self.facts, "units": units}
        )
