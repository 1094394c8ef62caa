"""The bundled networks are the pinned ones, and a wrong or missing one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from understudy.detection import engines, load_engine
from understudy.errors import InvalidOption, MissingEngine


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


def test_an_unknown_engine_lists_the_known_ones() -> None:
    with pytest.raises(InvalidOption) as error:
        load_engine("oracle")
    assert "mediapipe" in error.value.hint
