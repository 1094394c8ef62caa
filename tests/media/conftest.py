"""Clips extracted once for all tests that look at their faces."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.detection import ExtractOptions
from understudy.records import Side
from understudy.stages.extract import extract
from understudy.workspace import Workspace


@pytest.fixture(scope="session")
def extracted_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Workspace]:
    made: dict[Path, Workspace] = {}

    def extracted(clip: Path) -> Workspace:
        if clip not in made:
            workspace = Workspace.create(tmp_path_factory.mktemp("extracted") / "shot")
            shutil.copy(clip, workspace.root / f"data_dst{clip.suffix}")
            extract(workspace, Side.DST, ExtractOptions.of(image_size=256, workers=2))
            made[clip] = workspace
        return made[clip]

    return extracted


@pytest.fixture
def extracted(extracted_once: Callable[[Path], Workspace], tmp_path: Path) -> Callable[[Path], Workspace]:
    """A copy of the workspace whose dst is a clip with its faces, which the test may change."""

    def copied(clip: Path) -> Workspace:
        shutil.copytree(extracted_once(clip).root, tmp_path / "shot")
        return Workspace.open(tmp_path / "shot")

    return copied
