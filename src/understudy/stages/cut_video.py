"""A part of a video, written beside it: complete under its name or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from understudy.errors import Busy
from understudy.files import os_errors, sweep, user_data_folder
from understudy.media import CutOptions
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.result import StageResult


def cut_video(
    path: Path, options: CutOptions | None = None, *, report: Report = silent, stop: Stop = never
) -> StageResult:  # fmt: skip
    """Write the frames from `options.from_` to `options.to` of a video to `options.output`, by default beside it.

    Every frame keeps its time counted from the first one of the cut; size, depth, colour tags, shape of the pixels,
    timecode and sound are kept. Phone footage is turned upright. Raises MissingFootage, UnreadableMedia, UsageError,
    EncodingFailed, DiskFull, ReadOnlyWorkspace, Busy, Interrupted.
    """
    from understudy.media.cut import cut

    started = time.perf_counter()
    options = options or CutOptions()
    target = Path(options.output).absolute() if options.output else path.with_name(f"{path.stem}_cut{path.suffix}")
    with _only_one(target):
        made = cut(path, options, report=report, stop=stop)
    for text in made.notes:
        report(Note(text[:1].upper() + text[1:] + ".", "warning", made.path.name))
    first, last = made.first + 1, made.first + made.frames
    notes = {"copied": made.copied, "part": f"frames {first} to {last}", "first": made.first, "messages": made.notes}
    return StageResult(
        frames=made.frames, skipped=made.skipped, seconds=time.perf_counter() - started, rate=made.rate,
        outputs=[made.path], notes=notes,
    )  # fmt: skip


@contextlib.contextmanager
def _only_one(target: Path) -> Iterator[None]:
    """One writer of a cut at a time; what a killed one left beside it is swept away. Raises Busy."""
    folder = user_data_folder() / "locks"
    with os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(str(target.absolute()).encode(errors="surrogateescape")).hexdigest()[:24]
        lock = FileLock(folder / f"cut-{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise Busy(f"Another process is writing {target.stem}.", hint="Wait for it, or end it.") from None
    try:
        sweep(target.parent, f"{_plain(target.stem)}.*")
        yield
    finally:
        lock.release()


def _plain(name: str) -> str:
    """The name as a pattern that matches nothing else."""
    return "".join(f"[{letter}]" if letter in "[]*?" else letter for letter in name)
