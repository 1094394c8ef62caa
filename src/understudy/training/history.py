"""The losses of every iteration: `history.jsonl`, one JSON object per line, and the curve drawn from it.

    {"iteration": 1, "src": 2.71, "dst": 2.69}

The file holds nothing but what the training arithmetic decides, so that a resumed run writes the same bytes as an
uninterrupted one. It is cut back to the checkpoint when training resumes.
"""

from __future__ import annotations

import json
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from understudy.errors import MissingModel
from understudy.files import os_errors, parse_json, writing

FILE_NAME = "history.jsonl"
CURVE_NAME = "loss_curve.png"


class History:
    """Losses by name, in memory as 4-byte numbers and on disk as lines. One writer at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.iterations: array[int] = array("q")
        self.losses: dict[str, array[float]] = {}

    @classmethod
    def open(cls, path: Path, *, until: int) -> History:
        """Read the losses up to and with iteration `until`, and cut everything later off the file.

        Lines that cannot be read (a half-written end) end the history there; what follows them is cut too.
        """
        history = cls(path)
        keep_bytes = 0
        if path.is_file():
            with path.open("rb") as lines:
                for line in lines:
                    entry = _parsed(line)
                    if entry is None or entry[0] > until:
                        break
                    history._remember(*entry)
                    keep_bytes += len(line)
            if keep_bytes < path.stat().st_size:
                with os_errors(path):
                    os.truncate(path, keep_bytes)
        return history

    @classmethod
    def read(cls, path: Path) -> History:
        """Read a history without touching its file: for a model that somebody else may be training."""
        history = cls(path)
        if path.is_file():
            with path.open("rb") as lines:
                for line in lines:
                    entry = _parsed(line)
                    if entry is None:
                        break
                    history._remember(*entry)
        return history

    def __len__(self) -> int:
        return len(self.iterations)

    def append(self, entries: Iterable[tuple[int, Mapping[str, float]]]) -> None:
        """Add the losses of some iterations, given in order.

        Raises DiskFull, ReadOnlyWorkspace, and MissingModel when the model's folder was deleted meanwhile.
        """
        if not self.path.parent.is_dir():
            raise MissingModel(
                f"The folder of the model {self.path.parent.name} is gone: deleted or moved while it was trained.",
                hint="Put it back, from the trash or a copy, and train it again; nothing of it was written elsewhere.",
                folder=self.path.parent,
            )
        lines = []
        for iteration, losses in entries:
            self._remember(iteration, losses)
            rounded = {name: float(np.float32(value)) for name, value in losses.items()}
            lines.append(json.dumps({"iteration": iteration, **rounded}) + "\n")
        with os_errors(self.path), self.path.open("ab") as handle:
            handle.write("".join(lines).encode())

    def cut(self, until: int) -> None:
        """Forget everything after iteration `until`, here and in the file."""
        fresh = History.open(self.path, until=until)
        self.iterations, self.losses = fresh.iterations, fresh.losses

    def sync(self) -> None:
        """Make what was appended survive a power cut; called before a checkpoint that relies on it is published."""
        if self.path.is_file():
            with os_errors(self.path), self.path.open("rb+") as handle:
                os.fsync(handle.fileno())

    def means(self, last: int) -> dict[str, float]:
        """The mean of each loss over the last so many iterations."""
        return {name: float(np.mean(values[-last:])) for name, values in self.losses.items() if len(values)}

    def _remember(self, iteration: int, losses: Mapping[str, float]) -> None:
        self.iterations.append(iteration)
        for name, value in losses.items():
            values = self.losses.setdefault(name, array("f", [np.nan] * (len(self.iterations) - 1)))
            values.append(value)


def draw_curve(history: History, path: Path, *, width: int = 1200, height: int = 480) -> Path:
    """Draw the losses over the iterations as a PNG: each loss as a band from its least to its greatest value per column
    and a line of its mean. The scale leaves out the first fifth, so that the start does not flatten the rest.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(width / 100, height / 100), dpi=100, layout="tight")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    top = 0.0
    for name, stored in history.losses.items():
        known = np.isfinite(stored)  # a loss that was switched on later has no value before
        values = np.asarray(stored)[known]
        columns = list(_columns(np.asarray(history.iterations)[known], values, width // 2))
        at, low, mean, high = (np.array(part) for part in zip(*columns, strict=True))
        axes.plot(at, mean, linewidth=1.2, label=name)
        axes.fill_between(at, low, high, alpha=0.25, linewidth=0)
        top = max(top, 2 * float(values[len(values) // 5 :].mean()))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("iteration")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    if history.losses:
        axes.set_ylim(0, top or 1.0)
        axes.legend(loc="upper right")
    with writing(path) as temp:
        figure.savefig(temp, format="png")
    return path


def _columns(iterations: np.ndarray, values: np.ndarray, count: int) -> Iterator[tuple[float, float, float, float]]:
    """(iteration, least, mean, greatest) of at most `count` runs of neighbouring entries."""
    for part in np.array_split(np.arange(len(values)), min(count, len(values))):
        block = values[part]
        yield float(iterations[part[-1]]), float(block.min()), float(block.mean()), float(block.max())


def _parsed(line: bytes) -> tuple[int, dict[str, float]] | None:
    """The iteration and losses of one line, or None where the line is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        entry = parse_json(line)
        return int(entry.pop("iteration")), {str(name): float(value) for name, value in entry.items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
