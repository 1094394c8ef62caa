"""The first unit of a recipe that names its videos: copies of them in the workspace, under the names it knows."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from understudy.errors import Interrupted, UsageError
from understudy.files import os_errors, writing
from understudy.records import Side
from understudy.report import Pace, Report, Stop
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


def bring_footage(
    workspace: Workspace, files: Mapping[str, Path], *, may_replace: bool, report: Report, stop: Stop
) -> StageResult:
    """Copy the videos into the workspace as data_src.* and data_dst.*; one that is there already is not copied again.

    Other footage of that side is in the way: UsageError, or with `may_replace` it moves to the trash. Raises DiskFull,
    ReadOnlyWorkspace, MissingFootage and Interrupted.
    """
    began, made = time.perf_counter(), []
    pace = Pace("Copying footage", len(files), report, unit="files")
    for name, source in files.items():
        if stop():
            raise Interrupted("Stopped while footage was copied.", hint="The same command goes on.")
        side = workspace.side(Side(name))
        target = workspace.root / f"data_{side.side}{source.suffix.lower()}"
        there = side.video
        if there is not None and not (there == target and _same(source, target)):
            if not may_replace:
                raise UsageError(
                    f"There is other {name} footage in the workspace: {there.name}.",
                    hint="Move it away, or choose another workspace with -w.",
                )
            trash = workspace.new_trash("footage")
            with os_errors(trash):
                trash.mkdir(parents=True)
                there.replace(trash / there.name)
            there = None
        if there is None:
            with writing(target) as temp:
                shutil.copy2(source, temp)
        made.append(target)
        pace.advance()
    return StageResult(seconds=time.perf_counter() - began, outputs=made)


def _same(source: Path, target: Path) -> bool:
    one, other = source.stat(), target.stat()
    return one.st_size == other.st_size and int(one.st_mtime) == int(other.st_mtime)
