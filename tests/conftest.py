"""Shared fixtures: where the golden numbers and the real footage are, when they are there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GOLDEN = Path(os.environ.get("UNDERSTUDY_GOLDEN", ROOT.parent / "shared" / "golden"))
MEDIA = Path(os.environ.get("UNDERSTUDY_MEDIA", ROOT.parent / "shared" / "media"))


@pytest.fixture(scope="session")
def golden() -> Path:
    """The folder of numbers that the reference program produced."""
    if not GOLDEN.is_dir():
        pytest.skip(f"no golden data at {GOLDEN}; set UNDERSTUDY_GOLDEN")
    return GOLDEN


@pytest.fixture(scope="session")
def media() -> Path:
    """The folder of real footage and nasty inputs, with manifest.json."""
    if not (MEDIA / "manifest.json").is_file():
        pytest.skip(f"no test footage at {MEDIA}; set UNDERSTUDY_MEDIA")
    return MEDIA
