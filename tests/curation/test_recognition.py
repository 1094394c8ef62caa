"""A recognition network from a file: fed as such networks are, refused clearly when it is another kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from onnx_files import node, save_fixed, save_onnx
from small_faces import face_files
from understudy.curation.person_options import ColourOrder
from understudy.curation.recognition import FIVE_POINTS, RecognitionNetwork, five_point_matrix
from understudy.errors import IncompatibleModel, MissingEngine, UnreadableFace
from understudy.facesets import Face, decode_jpeg
from understudy.geometry import affine
from understudy.geometry.mean_face import MEAN_FACE
from understudy.records import Side

pytest.importorskip("onnxruntime", reason="the onnx extra is not installed")


def faces(side: Side, count: int = 5) -> list[Face]:
    return [Face(decode_jpeg(jpeg), meta) for _, jpeg, meta in face_files(side, count)]


def save_averaging(path: Path) -> Path:
    """A network whose vector is the picture itself, averaged over 14 x 14 px: (1, 3 * 8 * 8)."""
    nodes = [
        node("AveragePool", ["picture"], ["small"], kernel_shape=[14, 14], strides=[14, 14]),
        node("Flatten", ["small"], ["vector"], axis=1),
    ]
    return save_onnx(path, size=112, nodes=nodes, outputs={"vector": (1, 192)})


def test_vectors_are_of_unit_length_and_of_the_networks_size(tmp_path: Path) -> None:
    network = RecognitionNetwork(save_averaging(tmp_path / "net.onnx"))
    look = network.describe(faces(Side.SRC)[0])
    assert network.dimensions == 192
    assert look.shape == (192,)
    assert np.linalg.norm(look) == pytest.approx(1, abs=1e-5)


def test_the_picture_is_scaled_to_one_around_zero_and_in_the_order_asked_for(tmp_path: Path) -> None:
    path = save_averaging(tmp_path / "net.onnx")
    red = np.zeros((64, 64, 3), np.uint8)
    red[..., 0] = 255
    face = Face(red, faces(Side.SRC)[0].meta)
    rgb = RecognitionNetwork(path).describe(face).reshape(3, 8, 8)
    bgr = RecognitionNetwork(path, colours=ColourOrder.BGR).describe(face).reshape(3, 8, 8)
    assert rgb[0, 4, 4] > 0 > rgb[2, 4, 4]
    assert np.allclose(bgr, rgb[::-1])
    assert rgb[0, 4, 4] == pytest.approx(-rgb[2, 4, 4], rel=0.02)


def test_eyes_nose_and_mouth_come_to_their_places() -> None:
    landmarks = MEAN_FACE[:, :2] * 13 + 140
    placed = affine.apply(five_point_matrix(landmarks), landmarks)
    five = [placed[36:42].mean(axis=0), placed[42:48].mean(axis=0), placed[30], placed[48], placed[54]]
    assert np.abs(np.array(five) - FIVE_POINTS).max() < 6


def test_people_differ_in_it(tmp_path: Path) -> None:
    network = RecognitionNetwork(save_averaging(tmp_path / "net.onnx"))
    ours, theirs = ([network.describe(face) for face in faces(side)] for side in Side)
    assert min(float(a @ b) for a in ours for b in ours) > max(float(a @ b) for a in ours for b in theirs)


def test_channels_last_and_an_open_size_are_understood(tmp_path: Path) -> None:
    nodes = [node("Flatten", ["picture"], ["vector"], axis=1)]
    path = save_onnx(tmp_path / "tf.onnx", size=(1, 16, 16, 3), nodes=nodes, outputs={"vector": (1, 768)})
    assert RecognitionNetwork(path).describe(faces(Side.SRC)[0]).shape == (768,)
    assert (
        RecognitionNetwork(save_fixed(tmp_path / "open.onnx", {"v": np.ones((1, 64), np.float32)}, size="side")).side
        == 112
    )


@pytest.mark.parametrize(
    ("answers", "size"),
    [({"v": np.ones((1, 3), np.float32)}, 112), ({"v": np.ones((1, 64), np.float32)}, (1, 1, 112, 112))],
    ids=["too few numbers", "grey pictures"],
)
def test_another_kind_of_network_is_refused(tmp_path: Path, answers: dict[str, np.ndarray], size: object) -> None:
    weights = {f"{name}_value": value for name, value in answers.items()}
    nodes = [node("Identity", [f"{name}_value"], [name]) for name in answers]
    shapes = {name: value.shape for name, value in answers.items()}
    path = save_onnx(tmp_path / "other.onnx", size=size, nodes=nodes, weights=weights, outputs=shapes)  # type: ignore[arg-type]
    with pytest.raises(IncompatibleModel, match=r"other\.onnx"):
        RecognitionNetwork(path)


def test_no_network_at_all_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("not a network")
    with pytest.raises(IncompatibleModel):
        RecognitionNetwork(tmp_path / "text.onnx")
    with pytest.raises(MissingEngine):
        RecognitionNetwork(tmp_path / "none.onnx")


def test_a_network_that_gives_nothing_skips_the_face(tmp_path: Path) -> None:
    network = RecognitionNetwork(save_fixed(tmp_path / "zero.onnx", {"v": np.zeros((1, 64), np.float32)}, size=112))
    with pytest.raises(UnreadableFace):
        network.describe(faces(Side.SRC)[0])
