"""Extraction with other engines than the embedded one: the same files, whatever found the faces."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from onnx_files import save_fixed
from shots import small_shot
from understudy.detection import ExtractOptions
from understudy.errors import MissingEngine
from understudy.facesets import read_face
from understudy.geometry.alignment import TEMPLATE_51
from understudy.records import Side
from understudy.stages.extract import extract
from understudy.workspace import Workspace

FRAMES = 5


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "shot")
    small_shot(frames=FRAMES).write_frames(made.src.frames)
    return made


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """A detector that always sees one face in the middle, and a landmarker that answers with the mean face."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path / "nets"
    folder.mkdir()
    height, width = small_shot(frames=FRAMES).frames[0].shape[:2]
    side = 0.4 * 64 * height / max(height, width)
    x, y = 32, 32 * height / max(height, width)
    row = np.array([[x - side, y - side, x + side, y + side, 0.8]], np.float32)
    save_fixed(folder / "detector.onnx", {"dets": row}, size=64)
    points = np.concatenate([np.full((17, 2), 0.5), TEMPLATE_51]).astype(np.float32)
    save_fixed(folder / "landmarks.onnx", {"points": points.reshape(1, 136)}, size=64)
    (folder / "engine.json").write_text(json.dumps({"landmarks": {"kind": "coordinates", "margin": 1.0}}))
    return folder


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_onnx_networks_in_a_folder_make_a_faceset(workspace: Workspace, engine: Path, device: str) -> None:
    """These engines have no mesh and need no hint; the stage must do without."""
    options = ExtractOptions.of(image_size=256, engine=str(engine), accuracy="fast", device=device)
    result = extract(workspace, Side.SRC, options)
    assert (result.frames, result.faces, result.skipped) == (FRAMES, FRAMES, [])
    meta = read_face(workspace.src.aligned / "00003_0.jpg").meta
    assert meta.source_landmarks is not None
    assert meta.source_rect is not None
    inside = (meta.source_landmarks > (meta.source_rect.left - 2, meta.source_rect.top - 2)).all()
    assert inside


def test_an_engine_without_its_weights_fails_before_any_frame(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "home"))
    with pytest.raises(MissingEngine) as error:
        extract(workspace, Side.SRC, ExtractOptions.of(engine="s3fd-fan"))
    assert "engines add" in error.value.hint
    assert list(workspace.src.aligned.glob("*.jpg")) == []
