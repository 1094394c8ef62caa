"""The Python of docs/guide/facesets.md runs as printed."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from understudy.facesets import read_meta
from understudy.workspace import Workspace

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "facesets.md"


def test_the_example_runs(faceset: Callable[[int], Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = faceset(2)
    (example,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"workspace": Workspace.create(folder.parents[1])}
    exec(example, names)
    assert capsys.readouterr().out == "2 faces; []\n"
    (polygon,) = read_meta(folder / "00002_0.jpg").polygons
    assert polygon.points.tolist() == [[0, 0], [40, 0], [0, 40]]
    assert names["mask"].shape == names["face"].rgb8.shape[:2]
