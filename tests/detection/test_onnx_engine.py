"""ONNX networks from files: each form that is understood, what it is called with, and clear words about the others."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import data

from onnx_files import node, save_fixed, save_onnx
from understudy.detection import load_engine
from understudy.detection.onnx_contract import (
    FROM_98,
    FROM_106,
    STRIDES,
    DetectorKind,
    LandmarksForm,
    LandmarksKind,
    detector_kind,
    landmarks_kind,
    read_boxes,
    read_landmarks,
)
from understudy.detection.onnx_engine import load_onnx_engine
from understudy.detection.options import Accuracy, ExtractOptions
from understudy.errors import IncompatibleModel, InvalidOption
from understudy.geometry.alignment import TEMPLATE_51
from understudy.records import Rect

pytest.importorskip("onnxruntime")

SIZE = 64
FACE = (16.0, 8.0, 40.0, 40.0)  # left, top, right, bottom in input pixels
Answers = dict[str, NDArray[np.float32]]


def scrfd(points: bool) -> Answers:
    """One face, at the anchor of stride 8 whose corner is (24, 24)."""
    answers: Answers = {}
    cells = {stride: (SIZE // stride) ** 2 * 2 for stride in STRIDES}
    for stride in STRIDES:
        answers[f"score_{stride}"] = np.zeros((cells[stride], 1), np.float32)
    for stride in STRIDES:
        answers[f"bbox_{stride}"] = np.zeros((cells[stride], 4), np.float32)
    if points:
        answers |= {f"kps_{stride}": np.zeros((cells[stride], 10), np.float32) for stride in STRIDES}
    at = (3 * SIZE // 8 + 3) * 2 + 1
    answers["score_8"][at] = 0.9
    answers["bbox_8"][at] = np.array([24 - FACE[0], 24 - FACE[1], FACE[2] - 24, FACE[3] - 24]) / 8
    return answers


def yunet() -> Answers:
    answers: Answers = {}
    for part, width in (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)):
        answers |= {f"{part}_{s}": np.zeros((1, (SIZE // s) ** 2, width), np.float32) for s in STRIDES}
    at = 3 * SIZE // 8 + 3
    answers["cls_8"][0, at], answers["obj_8"][0, at] = 0.9, 0.9
    centre, size = np.array([28, 24]) / 8 - 3, np.log(np.array([24, 32]) / 8)
    answers["bbox_8"][0, at] = [*centre, *size]
    return answers


def yolo(flipped: bool) -> Answers:
    rows = np.zeros((1, 128, 20), np.float32)
    rows[0, 7, :5] = [28, 24, 24, 32, 0.9]
    return {"output0": np.ascontiguousarray(rows.transpose(0, 2, 1)) if flipped else rows}


def retinaface() -> Answers:
    count = sum((SIZE // stride) ** 2 * 2 for stride in STRIDES)
    boxes, classes = np.zeros((1, count, 4), np.float32), np.zeros((1, count, 2), np.float32)
    at = (3 * SIZE // 8 + 3) * 2 + 1  # stride 8, cell (3, 3), the anchor of 32 px around (28, 28)
    classes[0, at, 1] = 0.9
    boxes[0, at] = [0, (24 - 28) / 32 / 0.1, np.log(24 / 32) / 0.2, 0]
    return {"loc": boxes, "conf": classes, "landms": np.zeros((1, count, 10), np.float32)}


def boxes() -> Answers:
    return {"dets": np.array([[*FACE, 0.9, 0], [0, 0, 4, 4, 0.1, 0]], np.float32)}


FORMS: list[tuple[DetectorKind, Answers]] = [
    (DetectorKind.SCRFD, scrfd(points=False)),
    (DetectorKind.SCRFD, scrfd(points=True)),
    (DetectorKind.YUNET, yunet()),
    (DetectorKind.YOLO, yolo(flipped=False)),
    (DetectorKind.YOLO, yolo(flipped=True)),
    (DetectorKind.RETINAFACE, retinaface()),
    (DetectorKind.BOXES, boxes()),
]


@pytest.mark.parametrize(("kind", "answers"), FORMS, ids=lambda value: str(value) if isinstance(value, str) else "")
def test_a_detector_is_known_by_its_outputs_and_finds_the_face(
    kind: DetectorKind, answers: Answers, tmp_path: Path
) -> None:
    assert detector_kind({name: value.shape for name, value in answers.items()}) == kind
    path = save_fixed(tmp_path / "detector.onnx", answers, size=SIZE)
    engine = load_onnx_engine(path, accuracy=Accuracy.FAST)
    picture = np.zeros((128, 256, 3), np.uint8)  # 64 px wide in the network: four times smaller
    ((box,),) = engine._detector.detect([picture])  # type: ignore[attr-defined]
    corners = (box.rect.left, box.rect.top, box.rect.right, box.rect.bottom)
    np.testing.assert_allclose(corners, np.array(FACE) * 4, atol=0.01)
    assert box.score == pytest.approx(0.9)


def test_overlapping_boxes_become_one_and_the_largest_face_comes_first(tmp_path: Path) -> None:
    rows = np.array([[0, 0, 10, 10, 0.8], [20, 20, 50, 50, 0.7], [21, 20, 50, 51, 0.95]], np.float32)
    save_fixed(tmp_path / "detector.onnx", {"dets": rows}, size=SIZE)
    engine = load_onnx_engine(tmp_path)
    (found,) = engine._detector.detect([np.zeros((64, 64, 3), np.uint8)])  # type: ignore[attr-defined]
    assert [round(box.score, 2) for box in found] == [0.95, 0.8]


BRIGHT = (150, 90)  # x, y of a red dot in the picture


def dotted() -> NDArray[np.uint8]:
    picture = np.zeros((200, 300, 3), np.uint8)
    picture[BRIGHT[1] - 2 : BRIGHT[1] + 3, BRIGHT[0] - 2 : BRIGHT[0] + 3, 0] = 255
    return picture


def red_finder(folder: Path, channel: int) -> Path:
    """Heat maps that are the first or the last channel of what the network is shown."""
    weight = np.zeros((68, 3, 1, 1), np.float32)
    weight[:, channel] = 1
    nodes = [node("Conv", ["picture", "w"], ["heat"])]
    return save_onnx(
        folder / "landmarks.onnx", size=SIZE, nodes=nodes, weights={"w": weight}, outputs={"heat": (1, 68, SIZE, SIZE)}
    )


@pytest.mark.parametrize(("channel", "colour"), [(0, "rgb"), (2, "bgr")])
@pytest.mark.parametrize("turn", [0.0, 0.6])
def test_heat_maps_come_back_in_frame_pixels(channel: int, colour: str, turn: float, tmp_path: Path) -> None:
    red_finder(tmp_path, channel)
    form = {"kind": "heat-maps", "colour": colour, "margin": 1.5, "scale": 1 / 255}
    (tmp_path / "engine.json").write_text(json.dumps({"landmarks": form}))
    engine = load_onnx_engine(tmp_path, accuracy=Accuracy.FAST)
    face = engine.landmarks_in(dotted(), Rect(100, 50, 180, 130), turn=turn)
    np.testing.assert_allclose(face.landmarks, np.tile(BRIGHT, (68, 1)), atol=1.5)
    assert face.confidence > 0.8


@pytest.mark.parametrize(("count", "order"), [(68, np.arange(68)), (98, FROM_98), (106, FROM_106)])
@pytest.mark.parametrize("unit", ["input", "unit", "centred"])
def test_coordinates_of_other_layouts_become_68(count: int, order: NDArray[np.int64], unit: str) -> None:
    places = np.random.default_rng(0).random((count, 2)).astype(np.float32)
    told = {"input": places * 192, "unit": places, "centred": places * 2 - 1}[unit]
    form = LandmarksForm.model_validate({"kind": "coordinates", "size": 192, "unit": unit})
    flat, rows = told.reshape(1, -1), told.reshape(1, count, 2)
    for output in (flat, rows):
        assert landmarks_kind(output.shape) == LandmarksKind.COORDINATES
        points, sure = read_landmarks(LandmarksKind.COORDINATES, output, form)
        np.testing.assert_allclose(points, places[order], atol=1e-5)
        assert sure == 1.0


@pytest.mark.parametrize("order", [FROM_98, FROM_106])
def test_every_one_of_the_68_points_has_one_of_its_own(order: NDArray[np.int64]) -> None:
    assert len(order) == len(set(order.tolist())) == 68


@pytest.mark.parametrize(
    "shapes", [{"a": (1, 1000)}, {"a": (1, 3, 8, 8)}, {"a": (1, 128), "b": (1, 7)}, {"a": (1,)}, {}]
)
def test_other_outputs_are_no_detector(shapes: dict[str, tuple[int, ...]]) -> None:
    assert detector_kind(shapes) is None


@pytest.mark.parametrize("shape", [(1, 1000), (1, 3, 8, 8), (1, 5, 64, 64), (1, 10), (1, 478, 3), ()])
def test_other_shapes_are_no_landmarks(shape: tuple[int, ...]) -> None:
    assert landmarks_kind(shape) is None


def test_a_network_of_another_form_is_named_with_its_shapes(tmp_path: Path) -> None:
    path = save_fixed(tmp_path / "odd.onnx", {"logits": np.zeros((1, 1000), np.float32)}, size=SIZE)
    with pytest.raises(IncompatibleModel, match=r"odd\.onnx.*logits \[1, 1000\]") as error:
        load_engine(path)
    assert "engine.json" in error.value.hint


def test_the_kind_in_engine_json_wins_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    save_fixed(tmp_path / "detector.onnx", boxes(), size=SIZE)
    (tmp_path / "engine.json").write_text(json.dumps({"detector": {"kind": "retinaface"}}))
    engine = load_onnx_engine(tmp_path)
    with pytest.raises(IncompatibleModel, match="not those of retinaface"):
        engine.find(np.zeros((200, 200, 3), np.uint8))


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "engine.json"), ('{"detector": {"kind": "magic"}}', "detector.kind"), ('{"licens": ""}', "licens")],
)
def test_a_wrong_engine_json_is_named_by_field(text: str, said: str, tmp_path: Path) -> None:
    save_fixed(tmp_path / "detector.onnx", boxes(), size=SIZE)
    (tmp_path / "engine.json").write_text(text)
    with pytest.raises(InvalidOption, match=said):
        load_engine(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a network", b"\x08\x08"])
def test_a_damaged_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "detector.onnx").write_bytes(content)
    with pytest.raises(IncompatibleModel, match=r"detector\.onnx"):
        load_engine(tmp_path)


def test_an_input_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    nodes = [node("Identity", ["picture"], ["same"])]
    path = save_onnx(tmp_path / "flat.onnx", size=(1, 12), nodes=nodes, outputs={"same": (1, 12)})
    with pytest.raises(IncompatibleModel, match="input"):
        load_engine(path)


def test_an_empty_folder_says_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=r"detector\.onnx nor landmarks\.onnx"):
        load_engine(tmp_path)


def test_open_sides_are_filled_by_the_described_size(tmp_path: Path) -> None:
    """Many detectors take any size; theirs are the shapes of one run."""
    nodes = [
        node("GlobalAveragePool", ["picture"], ["mean"]),
        node("Mul", ["mean", "zero"], ["none"]),
        node("ReduceSum", ["none"], ["sum"], keepdims=0),
        node("Add", ["rows", "sum"], ["dets"]),
    ]
    rows = np.array([[10, 10, 50, 60, 0.9]], np.float32)
    save_onnx(
        tmp_path / "detector.onnx",
        size="side",
        nodes=nodes,
        weights={"zero": np.zeros(1, np.float32), "rows": rows},
        outputs={"dets": ("n", 5)},
    )
    (tmp_path / "engine.json").write_text(json.dumps({"detector": {"kind": "boxes", "size": 320}}))
    engine = load_onnx_engine(tmp_path)
    ((box,),) = engine._detector.detect([np.zeros((640, 640, 3), np.uint8)])  # type: ignore[attr-defined]
    assert (box.rect.left, box.rect.bottom) == (20, 120)


@pytest.mark.parametrize("accuracy", list(Accuracy))
def test_a_landmarker_alone_works_on_the_faces_that_the_embedded_detector_finds(
    accuracy: Accuracy, tmp_path: Path
) -> None:

    points = np.concatenate([np.full((17, 2), 0.5), TEMPLATE_51]).astype(np.float32)
    path = save_fixed(tmp_path / "mean_face.onnx", {"points": points.reshape(1, 136)}, size=SIZE)
    (face,) = load_engine(path, accuracy=accuracy).find(np.ascontiguousarray(data.astronaut()))
    low, high = face.landmarks[17:].min(axis=0), face.landmarks[17:].max(axis=0)
    apart = np.abs((low + high) / 2 - ((face.rect.left + face.rect.right) / 2, (face.rect.top + face.rect.bottom) / 2))
    assert (apart < 0.2 * face.rect.height).all()
    assert (0.5 * face.rect.height < high - low).all()
    assert (high - low < 1.5 * face.rect.height).all()


def test_a_detector_alone_has_its_landmarks_from_facemesh(tmp_path: Path) -> None:
    portrait = np.ascontiguousarray(data.astronaut())
    (expected,) = load_engine().find(portrait)
    rect = expected.rect
    row = np.array([[rect.left, rect.top, rect.right, rect.bottom, 0.9]], np.float32) / ([512 / SIZE] * 4 + [1])
    path = save_fixed(tmp_path / "one.onnx", {"dets": row.astype(np.float32)}, size=SIZE)
    (face,) = load_engine(path, accuracy=Accuracy.FAST).find(portrait)
    scale = np.linalg.norm(expected.landmarks[36] - expected.landmarks[45])
    assert np.linalg.norm(face.landmarks - expected.landmarks, axis=1).mean() < 0.03 * scale


def test_a_path_typed_as_engine_counts_from_the_folder_it_was_typed_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """The job that extracts runs elsewhere."""
    here = Path.cwd()
    assert ExtractOptions.of(engine="nets/face.onnx").engine == str(here / "nets" / "face.onnx")
    assert ExtractOptions.of(engine="mediapipe").engine == "mediapipe"


def test_answers_of_another_kind_are_named() -> None:
    answers = scrfd(points=False)
    assert read_boxes(DetectorKind.SCRFD, answers, SIZE)[:, 4].max() == pytest.approx(0.9)
    with pytest.raises(IncompatibleModel, match="score_8"):
        read_boxes(DetectorKind.YUNET, answers, SIZE)
