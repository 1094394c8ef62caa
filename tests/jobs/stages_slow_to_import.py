"""A stage whose module takes a while to import, as one that trains does."""

from __future__ import annotations

import time

from understudy.report import Report, Stop, never, silent
from understudy.stages.result import StageResult

time.sleep(1.0)


def nothing(*, report: Report = silent, stop: Stop = never) -> StageResult:
    return StageResult()
