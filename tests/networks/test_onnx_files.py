"""ONNX files are opened in one place: every layout of a picture, and clear words for what cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from onnx_files import node, outside_weights, save_fixed, save_onnx
from understudy.errors import IncompatibleModel, MissingEngine, MissingExtra
from understudy.networks.onnx_files import OnnxNetwork

pytest.importorskip("onnxruntime")


@pytest.mark.parametrize(("shape", "expected"), [((1, 3, 8, 8), (1, 3, 8, 8)), ((1, 8, 8, 3), (1, 8, 8, 3))])
def test_a_picture_reaches_the_network_in_its_own_layout(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    same = save_onnx(
        tmp_path / "same.onnx", size=shape, nodes=[node("Identity", ["picture"], ["out"])], outputs={"out": shape}
    )
    network = OnnxNetwork(same, threads=1)
    picture = np.random.default_rng(0).random((8, 8, 3), np.float32)
    found = network.run(picture)["out"]
    assert found.shape == expected
    np.testing.assert_array_equal(found[0] if shape[3] == 3 else found[0].transpose(1, 2, 0), picture)
    assert network.input.side == 8
    assert network.outputs == {"out": list(expected)}


def test_what_cannot_be_used_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingEngine, match=r"none\.onnx"):
        OnnxNetwork(tmp_path / "none.onnx")
    wide = save_onnx(
        tmp_path / "wide.onnx",
        size=(1, 3, 8, 16),
        nodes=[node("Identity", ["picture"], ["out"])],
        outputs={"out": (1, 3, 8, 16)},
    )
    with pytest.raises(IncompatibleModel, match="one square picture") as caught:
        OnnxNetwork(wide)
    assert "[1, 3, 8, 16]" in caught.value.hint
    fixed = OnnxNetwork(save_fixed(tmp_path / "fixed.onnx", {"v": np.ones((1, 4), np.float32)}, size=64))
    with pytest.raises(IncompatibleModel, match="a picture of 32 x 32"):
        fixed.run(np.zeros((32, 32, 3), np.float32))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra) as missing:
        OnnxNetwork(wide)
    assert "understudy[onnx]" in missing.value.hint


@pytest.mark.parametrize("location", ["../outside.bin", "link.bin", "folder/outside.bin", "absolute", "/dev/zero"])
def test_weights_outside_of_the_networks_folder_are_not_read(tmp_path: Path, location: str) -> None:
    """A network from a stranger must not be a way to read other files."""
    home = tmp_path / "networks"
    home.mkdir()
    numbers = np.full(3, 7, np.float32)
    for path in (home / "beside.bin", tmp_path / "outside.bin"):
        path.write_bytes(numbers.tobytes())
    try:
        (home / "link.bin").symlink_to(tmp_path / "outside.bin")
        (home / "folder").symlink_to(tmp_path)
    except OSError:
        pytest.skip("links cannot be made here")

    def opened(place: str) -> OnnxNetwork:
        weights = {"value": outside_weights("value", [3], place)}
        nodes = [node("Identity", ["value"], ["out"])]
        return OnnxNetwork(save_onnx(home / "net.onnx", nodes=nodes, weights=weights, outputs={"out": [3]}))

    np.testing.assert_array_equal(opened("beside.bin").run(np.zeros((64, 64, 3), np.float32))["out"], numbers)
    with pytest.raises(IncompatibleModel, match="cannot be loaded"):
        opened(str(tmp_path / "outside.bin") if location == "absolute" else location)
