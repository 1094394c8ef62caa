"""What enhancing has done so far, and which files it has made.

    {"schema": "understudy-enhance/1"}
    {"begin": "3f0c…"}                                                     a run with these settings
    {"key": "00001_0.jpg", "from": [size, mtime], "outcome": "enhanced", "made": [size, mtime]}
    {"key": "00002_0.jpg", "from": [size, mtime], "outcome": "left", "why": "…"}

A run goes on after what the newest run of the same settings had done. That a file in the faceset was made here, after
`--replace` or a sort has moved it, is known by its size and time, which moving does not change: no face is enhanced
twice, and none learned from as if a camera had seen it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from understudy.stages.journal import SafeLines, read_entries

SCHEMA = "understudy-enhance/1"

Stamp = tuple[int, int]
"""Size and modification time (ns) of a file."""


class Fate(StrEnum):
    """What became of a face. enhanced; left as it was, for a reason; copied, since it is not soft."""

    ENHANCED = "enhanced"
    LEFT = "left"
    COPIED = "copied"


@dataclass(frozen=True)
class Outcome:
    """One face. before: the stamp of what it was made from. made: of what was written. doubted: named in the result."""

    key: str
    before: Stamp
    fate: Fate
    made: Stamp | None = None
    why: str = ""
    doubted: bool = False


@dataclass(eq=False)
class EnhanceJournal:
    """The outcomes of the newest run by key, and the stamps of every enhanced file ever made. Not thread-safe."""

    path: Path
    settings: str = ""
    done: dict[str, Outcome] = field(default_factory=dict)
    made: set[Stamp] = field(default_factory=set)
    _lines: SafeLines | None = field(default=None, init=False, repr=False)

    @classmethod
    def read(cls, path: Path) -> EnhanceJournal:
        """The journal of a side; an empty one where there is none or it makes no sense."""
        journal = cls(path)
        for entry in read_entries(path, SCHEMA)[1:]:
            journal._take(entry)
        return journal

    def begin(self, settings: str) -> None:
        """Start a run: what earlier runs with other settings did no longer counts as done."""
        if settings != self.settings:
            self.settings = settings
            self.done.clear()

    def __enter__(self) -> Self:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lines = SafeLines(self.path, self._entries())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lines, self._lines = self._lines, None
        assert lines is not None
        lines.end(error)

    def add(self, outcome: Outcome, files: Iterable[Path] = ()) -> None:
        """Note what became of a face, once `files` are safe."""
        self.done[outcome.key] = outcome
        if outcome.fate is Fate.ENHANCED and outcome.made is not None:
            self.made.add(outcome.made)
        if self._lines is not None:
            self._lines.add(_entry(outcome), files)

    def _entries(self) -> Iterator[dict[str, Any]]:
        yield {"schema": SCHEMA}
        known = {outcome.made for outcome in self.done.values()}
        for stamp in sorted(self.made - known):
            yield {"made": list(stamp)}
        yield {"begin": self.settings}
        yield from map(_entry, self.done.values())

    def _take(self, entry: dict[str, Any]) -> None:
        """Remember a line; one that makes no sense is passed over."""
        try:
            if "begin" in entry:
                self.begin(str(entry["begin"]))
            elif "key" in entry:
                self.add(_outcome(entry))
            elif "made" in entry:
                self.made.add(_stamp(entry["made"]))
        except (KeyError, TypeError, ValueError):
            pass


def stamp_of(path: Path) -> Stamp:
    """Size and modification time of a file. Raises OSError."""
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _entry(outcome: Outcome) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": outcome.key, "from": list(outcome.before), "outcome": str(outcome.fate)}
    entry |= {"made": list(outcome.made)} if outcome.made is not None else {}
    entry |= {"why": outcome.why} if outcome.why else {}
    return entry | ({"doubted": True} if outcome.doubted else {})


def _outcome(entry: dict[str, Any]) -> Outcome:
    made = entry.get("made")
    return Outcome(
        str(entry["key"]),
        _stamp(entry["from"]),
        Fate(entry["outcome"]),
        None if made is None else _stamp(made),
        str(entry.get("why", "")),
        entry.get("doubted") is True,
    )


def _stamp(value: Any) -> Stamp:
    size, time = value
    return int(size), int(time)
