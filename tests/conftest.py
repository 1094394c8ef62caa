"""Shared fixtures: where the golden numbers and the real footage are, when they are there."""

from __future__ import annotations

from pathlib import Path

import pytest

from places import GOLDEN, MEDIA


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
