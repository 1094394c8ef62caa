"""Whether the frames of a side were denoised, as `.understudy/denoise/SIDE.json` says."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from understudy.files import parse_json, write_json
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
        state = parse_json(state_path(workspace, side).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) and state.get("schema") == SCHEMA and "names" in state else None


def mark(workspace: Workspace, side: Side, state: dict[str, Any]) -> None:
    """Keep it."""
    write_json(state_path(workspace, side), {**state, "schema": SCHEMA})


def exchanges(workspace: Workspace, side: Side) -> Path:
    """The folder of the records by which exchanged frames come back."""
    return workspace.private / "changes" / f"frames-{side}"


def recover_exchange(workspace: Workspace, side: Side) -> None:
    """Finish or take back an exchange of frames that a killed process left half done; for the writer of the frames."""
    from understudy.facesets import changes

    folder = exchanges(workspace, side)
    if not folder.is_dir():
        return
    changes.recover(folder)
    state = read_state(workspace, side)
    if state is not None and state.get("in_place") is None:  # it was all or nothing
        trash = Path(state["trash"])
        mark(workspace, side, state | {"in_place": trash.is_dir() and any(trash.iterdir())})


def digest(files: list[Path]) -> str:
    """What tells these file names from others."""
    return hashlib.sha256("\n".join(file.name for file in files).encode(errors="surrogateescape")).hexdigest()[:16]
