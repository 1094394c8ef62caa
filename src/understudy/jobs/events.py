"""A stage's events as JSON lines: written by the job, read by every listener.

{"v": 1, "time": 1763820000.1, "type": "progress", "step": "Extracting faces", "done": 12, "total": 300, …}
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from understudy.files import parse_json
from understudy.report import Event, Metrics, Note, Preview, Progress

VERSION = 1
KINDS: dict[str, type[Event]] = {"progress": Progress, "metrics": Metrics, "preview": Preview, "note": Note}
NAMES = {kind: name for name, kind in KINDS.items()}


def encode(event: Event) -> dict[str, Any]:
    """One event as the JSON object of a line, with the wall-clock time in seconds."""
    fields = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(event).items()}
    return {"v": VERSION, "time": round(time.time(), 3), "type": NAMES[type(event)], **fields}


def decode(body: dict[str, Any]) -> Event | None:
    """The event of a line; None for one of a newer version or of a kind unknown here, which a listener passes over."""
    kind = KINDS.get(str(body.get("type")))
    if kind is None or body.get("v") != VERSION:
        return None
    fields = {key: value for key, value in body.items() if key not in ("v", "time", "type")}
    if kind is Preview:
        fields["path"] = Path(fields["path"])
    try:
        return kind(**fields)
    except TypeError:
        return None


class EventLog:
    """A report that appends events to a file, one line each, whole lines only.

    Progress and metrics come many times a second and only the newest matters, so each is written at most once in
    `every_secs`; the end of a step is written at once, and what was held back before the next note or preview.
    A log that cannot be written (a full disk) never stops the work: the stage's own writes report that.
    """

    def __init__(self, path: Path, *, every_secs: float = 0.5) -> None:
        self._file = path.open("ab", buffering=0)
        self._every_secs = every_secs
        self._lock = threading.Lock()
        self._written_at: dict[str, float] = {}
        self._held: dict[str, Event] = {}

    def __call__(self, event: Event) -> None:
        with self._lock:
            if isinstance(event, Progress | Metrics):
                self._write_paced(event)
            else:
                self._write_held()
                self._write(event)

    def close(self) -> None:
        """Write what was held back and close the file."""
        with self._lock:
            self._write_held()
            self._file.close()

    def _write_paced(self, event: Progress | Metrics) -> None:
        stream = f"progress {event.step}" if isinstance(event, Progress) else "metrics"
        now = time.monotonic()
        ends = isinstance(event, Progress) and event.total is not None and event.done >= event.total
        self._held.pop(stream, None)  # the newest of a stream comes after what others held meanwhile
        if not ends and now - self._written_at.get(stream, -1e9) < self._every_secs:
            self._held[stream] = event
            return
        self._write_held()  # events stay in their order: what is read last is what happened last
        self._written_at[stream] = now
        self._write(event)

    def _write_held(self) -> None:
        held, self._held = self._held, {}
        for event in held.values():
            self._write(event)

    def _write(self, event: Event) -> None:
        line = json.dumps(encode(event), ensure_ascii=False, separators=(",", ":")) + "\n"
        with contextlib.suppress(OSError):
            self._file.write(line.encode("utf-8", "backslashreplace"))


class EventTail:
    """Reads the events of a growing log; each call of `read` gives what is new, in order."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def read(self) -> list[Event]:
        """Events of the whole lines written since the last call. A damaged line is passed over."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._position += len(whole)
        events = []
        for line in whole.splitlines():
            with contextlib.suppress(ValueError):
                body = parse_json(line)
                event = decode(body) if isinstance(body, dict) else None
                if event is not None:
                    events.append(event)
        return events


Kind = TypeVar("Kind", bound=Event)


def last_event(
    path: Path, kind: type[Kind], *, of: Callable[[Kind], bool] = lambda event: True, tail_bytes: int = 65536
) -> Kind | None:
    """The newest event of a kind for which `of` is true, found from the log's end, so that a long one costs nothing."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - tail_bytes))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        with contextlib.suppress(ValueError):
            body = parse_json(line)
            event = decode(body) if isinstance(body, dict) else None
            if isinstance(event, kind) and of(event):
                return event
    return None
