"""Fixtures of the command line's tests."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from understudy.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "shot")


@pytest.fixture
def long_footage(workspace: Workspace) -> Workspace:
    """A workspace whose src takes minutes to look through: many names of one picture of noise."""
    noise = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), dtype=np.uint8)
    first = workspace.src.frames / "00001.png"
    Image.fromarray(noise).save(first)
    for number in range(2, 3001):
        os.link(first, workspace.src.frames / f"{number:05d}.png")
    return workspace
