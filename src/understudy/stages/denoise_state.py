"""Whether the frames of a side were denoised, as `.understudy/denoise/SIDE.json` says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from understudy.records import Side
from understudy.workspace import Workspace

SCHEMA = "understudy.denoise/1"


def denoised_with(workspace: Workspace, side: Side) -> int:
    """The factor with which the frames on disk were cleaned, 0 where they were not."""
    state = read_state(workspace, side)
    if state is None or not state.get("in_place") or state["names"] != digest(workspace.side(side).frame_files()):
        return 0
    return int(state["factor"])


def state_path(workspace: Workspace, side: Side) -> Path:
    """Where it is kept."""
    return workspace.private / "denoise" / f"{side}.json"


def read_state(workspace: Workspace, side: Side) -> dict[str, Any] | None:
    """What is kept; in_place is None while frames are being exchanged. None where nothing is known."""
    try:
        state = json.loads(state_path(workspace, side).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and state.get("schema") == SCHEMA and "names" in state else None


def digest(files: list[Path]) -> str:
    """What tells these file names from others."""
    return hashlib.sha256("\n".join(file.name for file in files).encode(errors="surrogateescape")).hexdigest()[:16]
