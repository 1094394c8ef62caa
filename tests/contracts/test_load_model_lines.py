"""The six lines by which the guide draws a face with a model run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from own_models import own_model
from understudy.workspace import Workspace

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "models.md"


def six_lines() -> str:
    """The one Python block of the page that opens a model."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if "load_model" in block]
    return str(found)


def test_they_are_six() -> None:
    assert len([line for line in six_lines().splitlines() if line.strip()]) == 6


@pytest.mark.parametrize("kind", ["df-ud", "AMP"])
def test_they_run_and_draw_a_face(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    own_model(Workspace.create(tmp_path / "shot"), "hello", kind)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)).save(tmp_path / "face.jpg")
    exec(compile(six_lines(), PAGE.name, "exec"), {})
    with Image.open(tmp_path / "redrawn.png") as drawn:
        assert (drawn.size, drawn.mode) == ((64, 64), "RGB")
        assert np.ptp(np.asarray(drawn)) > 0
