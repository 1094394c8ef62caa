"""The evaluations of a model: `evaluation.jsonl`, one JSON object per line, in the order of the iterations.

    {"iteration": 500, "on": "held_out", "course": "3f0c…", "held_src": 0.71, …}

Like the history it holds nothing but what the training arithmetic decides, is cut back to the checkpoint when training
resumes, and is bounded: of more than `MOST` lines the older half keeps every second one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from understudy.files import os_errors, parse_json, write_text
from understudy.training.measuring.scores import Scores

FILE_NAME = "evaluation.jsonl"
MOST = 4000


class Evaluations:
    """Every evaluation of a model, in memory and on disk. One writer at a time."""

    def __init__(self, path: Path, found: Sequence[Scores] = ()) -> None:
        self.path = path
        self._found = list(found)

    @classmethod
    def open(cls, path: Path, *, until: int) -> Evaluations:
        """Read the evaluations up to and with iteration `until`, and cut everything later off the file."""
        known = cls.read(path)
        kept = cls(path, [scores for scores in known if scores.iteration <= until])
        if path.is_file() and _text(kept._found) != path.read_text(encoding="utf-8", errors="replace"):
            kept._write()
        return kept

    @classmethod
    def read(cls, path: Path) -> Evaluations:
        """Read them without touching the file. What cannot be read (a half-written end) ends them there."""
        found: list[Scores] = []
        if path.is_file():
            with path.open("rb") as lines:
                for line in lines:
                    scores = _parsed(line)
                    if scores is None or (found and scores.iteration <= found[-1].iteration):
                        break
                    found.append(scores)
        return cls(path, found)

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Scores]:
        return iter(self._found)

    @property
    def newest(self) -> Scores | None:
        return self._found[-1] if self._found else None

    def append(self, scores: Scores) -> None:
        """Add an evaluation. Raises DiskFull, ReadOnlyWorkspace."""
        stored = Scores.from_json(scores.as_json())  # as it will be read again: rounded
        assert stored is not None, "losses are finite"
        self._found.append(stored)
        if len(self._found) > MOST:
            half = len(self._found) // 2
            self._found = self._found[:half:2] + self._found[half:]
            self._write()
            return
        with os_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab") as handle:
                handle.write(_line(stored).encode())

    def sync(self) -> None:
        """Make what was appended survive a power cut; called before a checkpoint that relies on it is published."""
        if self.path.is_file():
            with os_errors(self.path), self.path.open("rb+") as handle:
                os.fsync(handle.fileno())

    def values(self, name: str) -> tuple[list[int], list[float]]:
        """Iterations and values of one number, where it was measured."""
        known = [scores for scores in self._found if name in scores.values]
        return [scores.iteration for scores in known], [scores.values[name] for scores in known]

    def _write(self) -> None:
        with os_errors(self.path):
            write_text(self.path, _text(self._found))


def _line(scores: Scores) -> str:
    return json.dumps(scores.as_json()) + "\n"


def _text(found: Sequence[Scores]) -> str:
    return "".join(_line(scores) for scores in found)


def _parsed(line: bytes) -> Scores | None:
    """The evaluation of one line, or None where it is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        return Scores.from_json(parse_json(line))
    except ValueError:
        return None
