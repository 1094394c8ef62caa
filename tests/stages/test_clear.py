"""Clearing loses nothing, and is refused rather than half done."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.errors import UsageError
from understudy.stages.clear import clear, clearable, restore
from understudy.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "shot")
    (made.src.aligned / "00001_0.jpg").write_bytes(b"face")
    (made.root / "data_src.mp4").write_bytes(b"footage")
    (made.root / "understudy.toml").write_text("[train]\n")
    return made


def contents(root: Path) -> dict[str, bytes]:
    """Every file outside .understudy."""
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): path.read_bytes() for path in files if ".understudy" not in path.parts}


def test_clear_and_undo_give_back_every_byte(workspace: Workspace) -> None:
    before = contents(workspace.root)
    clear(workspace)
    assert set(contents(workspace.root)) == {"data_src.mp4", "understudy.toml"}
    restore(workspace)
    assert contents(workspace.root) == before


def test_an_empty_workspace_has_nothing_to_clear(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "empty")
    assert clearable(workspace) == []
    assert clear(workspace).outputs == []


def test_only_the_last_clear_is_undone(workspace: Workspace) -> None:
    clear(workspace)
    (workspace.dst.aligned / "00001_0.jpg").write_bytes(b"second")
    clear(workspace)
    restore(workspace)
    assert "data_dst/aligned/00001_0.jpg" in contents(workspace.root)
    restore(workspace)
    assert contents(workspace.root)["data_src/aligned/00001_0.jpg"] == b"face"
    with pytest.raises(UsageError, match="no clear to undo"):
        restore(workspace)


def test_undo_never_writes_over_something_new(workspace: Workspace) -> None:
    clear(workspace)
    (workspace.src.aligned / "new.jpg").write_bytes(b"new")
    before = contents(workspace.root)
    with pytest.raises(UsageError, match="Something new stands"):
        restore(workspace)
    assert contents(workspace.root) == before
