"""Restorers from ONNX files: small files that do the right and the wrong thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.data import astronaut

from onnx_files import node, save_fixed, save_onnx
from understudy.errors import IncompatibleModel
from understudy.imaging.types import Image, as_float
from understudy.networks.onnx_restorer import OnnxRestorer

pytest.importorskip("onnxruntime")

IDENTITY = np.eye(3, dtype=np.float32)[..., None, None]


@pytest.fixture(scope="module")
def face() -> Image:
    return as_float(np.ascontiguousarray(astronaut()[20:212, 130:322]))


def convolution(path: Path, kernel: np.ndarray, *, size: int | str = 64, bias: float = 0.0) -> Path:
    """One convolution over the picture that keeps its size."""
    reach = kernel.shape[-1] // 2
    weights = {"w": kernel.astype(np.float32), "b": np.full(3, bias, np.float32)}
    work = node("Conv", ["picture", "w", "b"], ["out"], pads=[reach] * 4)
    return save_onnx(path, size=size, nodes=[work], weights=weights, outputs={"out": (1, 3, size, size)})


def test_a_network_that_changes_nothing_gives_every_face_back(tmp_path: Path, face: Image) -> None:
    """Of the network's own size, smaller and larger: tiles meet without a seam."""
    restorer = OnnxRestorer(convolution(tmp_path / "same.onnx", IDENTITY))
    for side in (64, 50, 192):
        np.testing.assert_allclose(restorer(face[:side, :side]), face[:side, :side], atol=1e-5)


@pytest.mark.parametrize("size", [64, "side"])
def test_a_sharpener_sharpens_in_tiles_as_in_one_piece(tmp_path: Path, face: Image, size: int | str) -> None:
    sharpen = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        sharpen[channel, channel] = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]]) / 1
    restorer = OnnxRestorer(convolution(tmp_path / "sharp.onnx", sharpen, size=size), tile_px=64)
    whole = OnnxRestorer(convolution(tmp_path / "whole.onnx", sharpen, size="side"), tile_px=512)(face)
    found = restorer(face)
    assert np.abs(found - whole)[24:-24, 24:-24].mean() < 0.01
    assert found.std() > face.std()


@pytest.mark.parametrize(("value_range", "gain", "offset"), [("0..1", 1, 0), ("-1..1", 2, -1), ("0..255", 255, 0)])
@pytest.mark.parametrize("bgr", [False, True])
def test_it_is_fed_what_it_expects(
    tmp_path: Path, face: Image, value_range: str, gain: float, offset: float, bgr: bool
) -> None:
    """A network whose first channel alone shines through says what it was given."""
    first = np.zeros((3, 3, 1, 1), np.float32)
    first[:, 0] = 1
    path = convolution(tmp_path / "first.onnx", first)
    found = OnnxRestorer(path, bgr=bgr, value_range=value_range)(face[:64, :64])
    np.testing.assert_allclose(found, np.repeat(face[:64, :64, [2 if bgr else 0]], 3, 2), atol=1e-4)


def test_a_larger_result_is_brought_back_to_the_faces_size(tmp_path: Path, face: Image) -> None:
    work = node("Resize", ["picture", "", "scales"], ["out"])
    weights = {"scales": np.array([1, 1, 2, 2], np.float32)}
    path = save_onnx(tmp_path / "x2.onnx", nodes=[work], weights=weights, outputs={"out": (1, 3, 128, 128)})
    for side in (64, 100):
        found = OnnxRestorer(path)(face[:side, :side])
        assert found.shape == (side, side, 3)
        assert np.abs(found - face[:side, :side]).mean() < 0.01


def test_a_network_for_whole_faces_gets_the_whole_face(tmp_path: Path, face: Image) -> None:
    restorer = OnnxRestorer(convolution(tmp_path / "same.onnx", IDENTITY), whole=True)
    found = restorer(face)
    assert found.shape == face.shape
    assert 0.002 < np.abs(found - face).mean() < 0.06  # it went through 64 px


def test_channels_last_is_understood(tmp_path: Path, face: Image) -> None:
    path = save_onnx(
        tmp_path / "nhwc.onnx",
        size=(1, 64, 64, 3),
        nodes=[node("Identity", ["picture"], ["out"])],
        outputs={"out": (1, 64, 64, 3)},
    )
    np.testing.assert_allclose(OnnxRestorer(path)(face[:64, :64]), face[:64, :64], atol=1e-6)


def test_a_network_that_makes_sense_is_let_through(tmp_path: Path, face: Image) -> None:
    OnnxRestorer(convolution(tmp_path / "same.onnx", IDENTITY)).require_sense([face])


def shifting() -> np.ndarray:
    kernel = np.zeros((3, 3, 9, 9), np.float32)
    kernel[range(3), range(3), 4, 0] = 1
    return kernel


@pytest.mark.parametrize(
    ("kernel", "bias", "what", "hint"),
    [
        (-IDENTITY, 1.0, "light and dark are exchanged", "range"),
        (IDENTITY[::-1].copy(), 0.0, "red and blue are exchanged", "--model-order"),
        (IDENTITY * 0.3, 0.0, "another picture", "--model-range"),
        (IDENTITY * 0.5, 0.5, "another picture", "--model-range"),
        (shifting(), 0.0, "shifted", "padding"),
        (IDENTITY * np.nan, 0.0, "no numbers", "damaged"),
    ],
)
def test_what_is_wrong_with_a_network_is_said(
    tmp_path: Path, face: Image, kernel: np.ndarray, bias: float, what: str, hint: str
) -> None:
    restorer = OnnxRestorer(convolution(tmp_path / "wrong.onnx", kernel, bias=bias))
    with pytest.raises(IncompatibleModel, match=what) as caught:
        restorer.require_sense([face])
    assert hint in caught.value.hint


def test_files_that_are_no_restorer_are_refused(tmp_path: Path, face: Image) -> None:
    junk = tmp_path / "junk.onnx"
    junk.write_bytes(b"not a network")
    with pytest.raises(IncompatibleModel, match="cannot be loaded"):
        OnnxRestorer(junk)
    answer = save_fixed(tmp_path / "answer.onnx", {"out": np.zeros((1, 10), np.float32)})
    with pytest.raises(IncompatibleModel, match="1 x 10"):
        OnnxRestorer(answer)(face)
    grey = save_onnx(
        tmp_path / "grey.onnx",
        size=(1, 1, 64, 64),
        nodes=[node("Identity", ["picture"], ["out"])],
        outputs={"out": (1, 1, 64, 64)},
    )
    with pytest.raises(IncompatibleModel, match="square picture"):
        OnnxRestorer(grey)
