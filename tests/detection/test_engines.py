"""The bundled networks are the pinned ones, and a wrong or missing one is named."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from skimage import data

from understudy.detection import engines, load_engine
from understudy.detection.onnx_contract import DetectorForm, DetectorKind, EngineFile, LandmarksForm, LandmarksKind
from understudy.errors import InvalidOption, MissingEngine

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide" / "engines.md"


def test_every_bundled_network_is_the_pinned_one() -> None:
    files = engines.bundled()
    assert {file.name for file in files} >= {engines.SHORT_RANGE, engines.FULL_RANGE, engines.FACE_MESH}
    assert all(file.ok and len(file.sha256) == 64 for file in files)


@pytest.mark.parametrize("content", [None, b"something else"])
def test_a_missing_or_foreign_network_says_how_to_get_it(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path(str(engines._assets()))
    (tmp_path / "sources.json").write_bytes((real / "sources.json").read_bytes())
    if content is not None:
        (tmp_path / engines.FACE_MESH).write_bytes(content)
    monkeypatch.setattr(engines, "_assets", lambda: tmp_path)
    with pytest.raises(MissingEngine) as error:
        engines.Network(engines.FACE_MESH)
    assert engines.FACE_MESH in error.value.message
    assert "pip install" in error.value.hint
    assert not any(file.ok for file in engines.bundled())


def test_an_unknown_accuracy_is_named() -> None:
    with pytest.raises(InvalidOption, match="perfect"):
        load_engine(accuracy="perfect")


def test_the_guides_python_runs() -> None:
    """The block as a reader would paste it, with a picture for `rgb8`."""
    (block,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"rgb8": np.ascontiguousarray(data.astronaut())}
    exec(block, names)
    assert len(names["faces"]) == 1
    assert [len(faces) for faces in names["batch"]] == [1, 1]
    assert names["face"].landmarks.shape == (68, 2)


def test_the_guides_engine_json_is_a_valid_one_with_the_defaults() -> None:
    (block,) = re.findall(r"```json\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    told = EngineFile.model_validate_json(block)
    assert told.detector == DetectorForm(kind=DetectorKind.SCRFD)
    assert told.landmarks is not None
    assert told.landmarks.model_copy(update={"scale": 1 / 255}) == LandmarksForm(kind=LandmarksKind.COORDINATES)


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(InvalidOption) as error:
        load_engine("oracle")
    assert "mediapipe" in error.value.hint
