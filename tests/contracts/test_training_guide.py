"""The guide on training speaks of every option there is."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.training.options import TrainOptions, flag_of

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "training.md"


@pytest.mark.parametrize("name", TrainOptions.model_fields)
def test_every_option_is_explained(name: str) -> None:
    """A person who meets a flag in --help finds what it buys and costs."""
    text = GUIDE.read_text(encoding="utf-8")
    assert flag_of(name) in text or flag_of(f"no_{name}") in text
