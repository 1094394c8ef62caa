"""What a stage has done so far, one JSON object per line, so that a stopped run goes on where it was.

    {"schema": "understudy-…/1", …}
    {"frame": 0, "name": "00001.png", …}
    {"skipped": "00003.png", "reason": "…"}
    {"end": true}

A line is written when the files it tells of have reached the disk itself. So a crash or a power cut may let frames be
done again, but never lets them be missed. A line cut short is ignored.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from understudy import files
from understudy.errors import UnderstudyError
from understudy.files import parse_json
from understudy.records import Skipped

Entry = dict[str, Any]

BATCH_SECS = 2.0
"""What a crash costs at most. Waiting for the disk takes about 4 ms per file (ext4, SSD); it is done for all files of
these seconds together, by a thread that has nothing else to do, so that no frame waits."""


@dataclass
class Journal(ABC):
    """What is known of a run, in memory and, inside `with`, on disk. Not thread-safe."""

    path: Path
    skipped: list[Skipped] = field(default_factory=list, kw_only=True)
    is_complete: bool = field(default=False, kw_only=True)
    """Whether a run has seen the footage to its end."""
    _lines: SafeLines | None = field(default=None, init=False, repr=False, compare=False)

    @abstractmethod
    def head(self) -> Entry:
        """The first line."""

    @abstractmethod
    def frames(self) -> Iterable[Entry]:
        """A line for each frame that is done."""

    @abstractmethod
    def take_frame(self, entry: Entry) -> None:
        """Remember the frame of a line that was read; one that makes no sense is passed over."""

    def __enter__(self) -> Self:
        """Open for adding; what is known so far is written anew, without any cut-short line."""
        self._lines = self._open_lines()
        return self

    def _open_lines(self) -> SafeLines:
        return SafeLines(self.path, [self.head(), *self.frames(), *map(_skip, self.skipped)])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lines, self._lines = self._lines, None
        assert lines is not None
        lines.end(error)

    def skip(self, items: Iterable[Skipped]) -> None:
        """Note what could not be used; what is known already is not repeated."""
        known = set(self.skipped)
        for item in items:
            if item not in known:
                known.add(item)
                self.skipped.append(item)
                self.write(_skip(item))

    def finish(self) -> None:
        """Note that the footage has been seen to its end."""
        self.is_complete = True
        self.write({"end": True})

    def write(self, entry: Entry, made: Iterable[Path] = ()) -> None:
        """Add a line once the files `made` are safe."""
        if self._lines is not None:
            self._lines.add(entry, made)

    def take(self, entries: Iterable[Entry]) -> None:
        """Remember what the lines after the head say."""
        for entry in entries:
            if "skipped" in entry:
                self.skipped.append(Skipped(str(entry["skipped"]), str(entry.get("reason", ""))))
            elif entry.get("end") is True:
                self.is_complete = True
            else:
                self.take_frame(entry)


class SafeLines:
    """A file of JSON lines. Each is added after the files it tells of are safe, by a thread of its own, in batches.

    What goes wrong there (DiskFull, ReadOnlyWorkspace) is raised by a later `add` or by `close`. A disk that is slow
    makes the batches larger and holds up nobody.
    """

    def __init__(self, path: Path, entries: Iterable[Entry], *, keep: int = 0) -> None:
        """Write the file anew with `entries`; whatever they tell of is safe already. keep: go on after so many bytes
        of the file as it is instead, and drop what follows them.
        """
        if keep:
            with files.os_errors(path), path.open("rb+") as file:
                file.truncate(keep)
        else:
            files.write_text(path, "".join(map(_dumped, entries)))
        self._path = path
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._batch: Future[None] | None = None
        self._batch_at = time.monotonic()
        self._entries: list[Entry] = []
        self._made: list[Path] = []

    def add(self, entry: Entry, made: Iterable[Path] = ()) -> None:
        self._entries.append(entry)
        self._made.extend(made)
        is_free = self._batch is None or self._batch.done()
        if is_free and time.monotonic() - self._batch_at >= BATCH_SECS:
            self._send()

    def close(self) -> None:
        """Add what is left, and wait for it."""
        try:
            self._send()
            assert self._batch is not None
            self._batch.result()
        finally:
            self._thread.shutdown()

    def end(self, error: BaseException | None) -> None:
        """Close at the end of a run; `error` is what ended it early, if anything did."""
        try:
            self.close()
        except (UnderstudyError, OSError):
            if error is None:
                raise  # else what ended the run is what its user should read; the last items are done again

    def _send(self) -> None:
        """Hand what has gathered to the thread. Raises what went wrong with the batch before."""
        if self._batch is not None:
            self._batch.result()
        entries, self._entries = self._entries, []
        made, self._made = self._made, []
        self._batch = self._thread.submit(self._write, entries, made)
        self._batch_at = time.monotonic()

    def _write(self, entries: list[Entry], made: list[Path]) -> None:
        files.sync_files(made)
        with files.os_errors(self._path), self._path.open("ab") as file:
            file.write("".join(map(_dumped, entries)).encode())


def read_entries(path: Path, schema: str) -> list[Entry]:
    """The lines of a journal, its head first; empty when there is none of this schema."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError):
        return []
    entries = list(_parsed(lines))
    return entries if entries and entries[0].get("schema") == schema else []


def first_missing(indices: Iterable[int]) -> int:
    """The least frame index that is not among `indices`."""
    known = set(indices)
    return next(index for index in range(len(known) + 1) if index not in known)


def _skip(item: Skipped) -> Entry:
    return {"skipped": item.item, "reason": item.reason}


def _parsed(lines: Iterable[str]) -> Iterator[Entry]:
    for line in lines:
        try:
            entry = parse_json(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def _dumped(entry: Entry) -> str:
    """ASCII, so that no name can break a line or fail to be written."""
    return json.dumps(entry) + "\n"
