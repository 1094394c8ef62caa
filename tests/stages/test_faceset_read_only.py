"""Folders that must not be written to: a clear error, and nothing moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shots import small_shot
from small_faces import workspace_with_faces
from understudy.detection.realign_options import RealignOptions
from understudy.errors import ReadOnlyWorkspace
from understudy.records import Side
from understudy.stages.coverage import coverage
from understudy.stages.realign import realign
from understudy.stages.review import review, write_review
from understudy.stages.trash import trash
from understudy.workspace import Workspace
from users import ordinary_user

RECT = RealignOptions.of(rect="100,60,220,200")


@pytest.fixture(scope="module", autouse=True)
def _all_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Do everything once: an ordinary user may not be able to import from where Python is installed."""
    made = filled(tmp_path_factory.mktemp("loaded"))
    realign(made, Side.SRC, "1", RECT)
    coverage(made, picture=False)
    review(made, Side.SRC, accept=["1"])
    trash(made, Side.SRC, "index=0")


@pytest.fixture
def workspace() -> Iterator[Workspace]:
    with ordinary_user() as folder:
        yield filled(folder)


def filled(folder: Path) -> Workspace:
    made = workspace_with_faces(folder / "shot", count=3)
    small_shot(frames=3).write_frames(made.src.frames)
    with made.writing("aligned-src"):
        pass  # so that the folder of locks is there
    return made


def names(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.src.aligned.iterdir())


@pytest.mark.parametrize(
    "command",
    [
        lambda workspace: trash(workspace, Side.SRC, "index=0"),
        lambda workspace: realign(workspace, Side.SRC, "1", RECT),
        lambda workspace: realign(workspace, Side.SRC, "1", RECT.but(face=5)),
    ],
    ids=["trash", "realign", "another face"],
)
def test_a_faceset_that_may_only_be_read_stays_as_it_is(
    workspace: Workspace, command: Callable[[Workspace], object]
) -> None:
    before = names(workspace)
    for folder in (workspace.src.aligned, workspace.src.frames):
        folder.chmod(0o555)
    with pytest.raises(ReadOnlyWorkspace):
        command(workspace)
    assert names(workspace) == before


@pytest.mark.parametrize(
    "command",
    [
        lambda workspace: write_review(workspace, Side.SRC),
        lambda workspace: review(workspace, Side.SRC, accept=["1"]),
        lambda workspace: coverage(workspace, picture=False),
        lambda workspace: trash(workspace, Side.SRC, "index=0"),
    ],
    ids=["review", "accept", "coverage", "trash"],
)
def test_results_that_cannot_be_kept_are_said(workspace: Workspace, command: Callable[[Workspace], object]) -> None:
    before = names(workspace)
    read_only(workspace.private)
    with pytest.raises(ReadOnlyWorkspace):
        command(workspace)
    assert names(workspace) == before


def read_only(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
