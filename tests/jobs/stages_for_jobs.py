"""Small stages that a job's process imports, to see what becomes of a job that counts, fails, dies or will not end."""

from __future__ import annotations

import os
import time
from pathlib import Path

from understudy.errors import EmptyFaceset
from understudy.files import write_bytes
from understudy.options import Options, option
from understudy.records import Side, Skipped
from understudy.report import Metrics, Note, Preview, Report, Stop, never, silent, track
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


class CountOptions(Options):
    """How far to count."""

    upto: int = option(5, "Count so far.", group="Counting", ge=0)
    pause_secs: float = option(0.0, "Wait so long between two numbers.", group="Counting", ge=0)


def count(
    workspace: Workspace, side: Side, options: CountOptions, *, report: Report = silent, stop: Stop = never
) -> StageResult:
    assert side is Side.SRC
    done = 0
    with workspace.writing("counting"):
        report(Note("Off we go.", "info"))
        report(Metrics(7, {"loss": 0.25}))
        report(Preview("picture", workspace.root / "preview.png", 7))
        for _ in track(range(options.upto), "Counting", report, stop, unit="numbers"):
            time.sleep(options.pause_secs)
            done += 1
    (workspace.root / "counted.txt").write_text(str(done))
    return StageResult(frames=done, skipped=[Skipped("13", "unlucky")], outputs=[workspace.root / "counted.txt"])


def refuse(workspace: Workspace, *, report: Report, stop: Stop) -> StageResult:
    raise EmptyFaceset("There are no faces.", hint="Make some.")


def break_down(workspace: Workspace, *, report: Report, stop: Stop) -> StageResult:
    print("about to divide")
    raise ZeroDivisionError("of course")


def die(workspace: Workspace, *, report: Report, stop: Stop) -> StageResult:
    print("last words", flush=True)
    os._exit(9)


def hear_nothing(workspace: Workspace, *, report: Report, stop: Stop) -> StageResult:
    (workspace.root / "deaf.txt").write_text("started")
    time.sleep(600)
    return StageResult()


def fill_the_disk(workspace: Workspace, *, report: Report, stop: Stop) -> StageResult:
    for number in range(100_000):
        write_bytes(workspace.root / f"{number}.bin", bytes(50_000))
        report(Note(f"Wrote {number}."))
    return StageResult()


def where(workspace: Workspace, folder: Path, *, report: Report, stop: Stop) -> StageResult:
    assert isinstance(folder, Path)
    return StageResult(outputs=[folder])
