"""Find the faces of one side's footage and cut them out into its faceset."""

from __future__ import annotations

from understudy.detection.options import ExtractOptions
from understudy.records import Side
from understudy.report import Report, Stop, never, silent
from understudy.stages.result import StageResult
from understudy.workspace import Workspace


def extract(
    workspace: Workspace,
    side: Side,
    options: ExtractOptions | None = None,
    *,
    report: Report = silent,
    stop: Stop = never,
) -> StageResult:
    """Find every face in the footage of `side` and write it to the aligned folder."""
    raise NotImplementedError
