"""Make a workspace."""

from __future__ import annotations

from pathlib import Path

from understudy.stages.result import StageResult
from understudy.workspace import Workspace


def init(folder: Path) -> StageResult:
    """Make a workspace in `folder`; what is already there stays. Raises ReadOnlyWorkspace or DiskFull."""
    workspace = Workspace.create(folder)
    return StageResult(outputs=[workspace.root])
