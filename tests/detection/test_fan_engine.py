"""S3FD and FAN from the user's weight files: the closed forms around the networks, and sharing what is loaded."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from understudy.detection import load_engine
from understudy.detection.fan_engine import (
    MEANS,
    VARIANTS,
    FanLandmarker,
    S3fdDetector,
    engine_folder,
    network_of,
    put_weights,
    reduction,
    weights_of,
    window_of,
    without_overlaps,
)
from understudy.detection.options import Accuracy
from understudy.detection.two_step import Look, cut_window
from understudy.errors import IncompatibleModel, InvalidOption, MissingEngine
from understudy.geometry.landmarks import MIRROR
from understudy.networks.s3fd import STRIDES, boxes
from understudy.records import Rect

CPU = torch.device("cpu")


def random_answers(seed: int, width: int, height: int) -> list[tuple[Tensor, Tensor]]:
    """What the detector might say of one picture: few cells above the threshold."""
    random = torch.Generator().manual_seed(seed)
    answers = []
    for stride in STRIDES:
        shape = (math.ceil(height / stride), math.ceil(width / stride))
        score = torch.rand(1, *shape, generator=random) ** 40
        answers.append((score, torch.randn(1, 4, *shape, generator=random) * 0.8))
    return answers


class Canned(nn.Module):
    """Answers the same to every picture, and remembers what it was shown."""

    def __init__(self, answers: list[tuple[Tensor, Tensor]]) -> None:
        super().__init__()
        self.answers, self.shown = answers, torch.empty(0)

    def forward(self, picture: Tensor) -> list[tuple[Tensor, Tensor]]:
        self.shown = picture
        count = len(picture)
        return [(score.repeat(count, 1, 1), offset.repeat(count, 1, 1, 1)) for score, offset in self.answers]


def plain_boxes(answers: list[tuple[Tensor, Tensor]]) -> NDArray[np.float64]:
    """The definition as loops: cells in order of the scales, rows and columns."""
    found = []
    for stride, (scores, offsets) in zip(STRIDES, answers, strict=True):
        for i, j in np.ndindex(*scores.shape[1:]):
            score = float(scores[0, i, j])
            if score > 0.05:
                loc = offsets[0, :, i, j].double().numpy()
                centre = np.array([j * stride + stride / 2, i * stride + stride / 2]) + loc[:2] * 0.1 * 4 * stride
                size = 4 * stride * np.exp(0.2 * loc[2:])
                found.append([*(centre - size / 2), *(centre + size / 2), score])
    return np.array(found)


def plain_nms(found: NDArray[np.float64]) -> list[int]:
    kept: list[int] = []
    for index in found[:, 4].argsort()[::-1]:
        box = found[index]
        for other in found[kept]:
            wide = max(0.0, min(box[2], other[2]) - max(box[0], other[0]) + 1)
            high = max(0.0, min(box[3], other[3]) - max(box[1], other[1]) + 1)
            area = sum((b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, other))
            if wide * high / (area - wide * high) > 0.3:
                break
        else:
            kept.append(int(index))
    return kept


@pytest.mark.parametrize("seed", range(3))
def test_boxes_are_the_closed_form_of_the_answers(seed: int) -> None:
    answers = random_answers(seed, 320, 192)
    (found,) = boxes(answers, 0.05)
    expected = plain_boxes(answers)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-4)
    assert without_overlaps(expected, 0.3) == plain_nms(expected)


@pytest.mark.parametrize("name", ["s3fd-fan", "face-alignment"])
def test_the_detector_sees_what_its_weights_were_trained_on_and_scales_back(name: str) -> None:
    """Means, colour order, size of the picture, 40 px at least, and 10 % more chin, as each program has them."""
    variant = VARIANTS[name]
    picture = np.random.default_rng(1).integers(0, 256, (384, 640, 3), dtype=np.uint8)
    answers = random_answers(7, 320, 192)
    net = Canned(answers)
    found = S3fdDetector(net, CPU, variant).detect([picture])[0]

    small = cv2.resize(picture, (320, 192), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    small = small[..., ::-1] if variant.bgr else small
    np.testing.assert_allclose(net.shown[0].permute(1, 2, 0).numpy(), small - MEANS, atol=1e-5)

    expected = []
    raw = plain_boxes(answers)
    for index in plain_nms(raw):
        if raw[index, 4] >= 0.5:
            left, top, right, bottom = np.trunc(raw[index, :4]) * 2
            if min(right - left, bottom - top) >= variant.smallest:
                grown = bottom + variant.chin * (bottom - top)
                expected.append(tuple(np.trunc([left, top, right, grown])))
    got = [(b.rect.left, b.rect.top, b.rect.right, b.rect.bottom) for b in found]
    assert sorted(got) == sorted(expected)
    assert expected
    areas = [box.rect.area for box in found]
    assert areas == sorted(areas, reverse=True)


@pytest.mark.parametrize(
    ("size", "factor"), [((1920, 1080), 3.0), ((1280, 720), 2.0), ((1000, 500), 2.0), ((120, 100), 120 / 64)]
)
def test_large_frames_are_looked_at_with_640_px_and_small_ones_at_half(size: tuple[int, int], factor: float) -> None:
    assert reduction(*size) == pytest.approx(factor)


def test_pictures_of_one_size_go_through_together_and_keep_their_order() -> None:
    net = Canned(random_answers(7, 320, 192))
    wide = np.zeros((384, 640, 3), np.uint8)
    detector = S3fdDetector(net, CPU, VARIANTS["s3fd-fan"])
    assert [len(found) > 0 for found in detector.detect([wide, wide, wide])] == [True] * 3
    assert net.shown.shape == (3, 3, 192, 320)
    assert len(detector.detect([])) == 0
    single = detector.detect([wide])[0]
    assert detector.detect([wide, wide])[1] == single


class Bumps(nn.Module):
    """Heat maps with one peak each, the same for every face."""

    def forward(self, faces: Tensor) -> Tensor:
        heat = torch.zeros(len(faces), 68, 64, 64)
        for number in range(68):
            heat[:, number, number % 60 + 2, 10 + number % 7] = 0.75
        return heat


def test_landmarks_are_peaks_in_the_window_of_the_box() -> None:
    picture, rect = np.zeros((400, 600, 3), np.uint8), Rect(100, 80, 250, 260)
    ((points, height),) = FanLandmarker(Bumps(), CPU).landmarks([Look(picture, rect, shift=(1.0, -1.0))])
    side = 200 * (150 + 180) / 195
    number = np.arange(68)
    local = np.stack([10 + number % 7, number % 60 + 2], axis=1)
    expected = (175 + 1, 170 - 1) + side * ((local + 0.5) / 64 - 0.5)
    np.testing.assert_allclose(points, expected)
    assert height == pytest.approx(0.75)


def test_a_mirrored_look_counts_with_left_and_right_exchanged() -> None:
    """A network that answers symmetrically must give the same landmarks with and without the mirrored look."""

    class Symmetric(nn.Module):
        def forward(self, faces: Tensor) -> Tensor:
            heat = torch.zeros(len(faces), 68, 64, 64)
            for number in range(68):
                x = 20 if MIRROR[number] > number else 43 if MIRROR[number] < number else 31
                heat[:, number, 10 + min(number, int(MIRROR[number])) % 40, x] = 1
            return heat

    look = Look(np.zeros((400, 600, 3), np.uint8), Rect(100, 80, 250, 260))
    ((once, _),) = FanLandmarker(Symmetric(), CPU).landmarks([look])
    ((both, _),) = FanLandmarker(Symmetric(), CPU, mirrored=True).landmarks([look])
    paired = np.arange(68) != MIRROR
    np.testing.assert_allclose(both[paired], once[paired])


def test_more_faces_than_a_batch_come_back_in_order() -> None:
    picture = np.zeros((100, 100, 3), np.uint8)
    looks = [Look(picture, Rect(n, 0, n + 40, 40)) for n in range(20)]
    found = FanLandmarker(Bumps(), CPU).landmarks(looks)
    steps = np.diff([points[0, 0] for points, _ in found])
    np.testing.assert_allclose(steps, 1.0)


def small_random(part: str) -> dict[str, Tensor]:
    """Weights of the right shapes, small enough to keep sums finite."""
    random = torch.Generator().manual_seed(0)
    return {
        name: torch.rand(value.shape, generator=random) * (0.02 if value.ndim == 4 else 0.5) + 1e-3
        for name, value in weights_of(network_of(part)).items()
    }


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engines")


@pytest.fixture
def with_weights(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(home))
    folder = engine_folder("s3fd-fan")
    if not folder.exists():
        folder.mkdir(parents=True)
        for part in ("s3fd", "2dfan"):
            save_file(small_random(part), folder / f"{part}.safetensors")
    return folder


@pytest.mark.timeout(120)
def test_the_engine_runs_on_weights_in_the_user_data_folder(with_weights: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (130, 140, 3), dtype=np.uint8)
    engine = load_engine("s3fd-fan", accuracy=Accuracy.FAST)
    face = engine.landmarks_in(picture, Rect(30, 30, 90, 100), turn=0.0)
    assert face.landmarks.shape == (68, 2)
    assert np.isfinite(face.landmarks).all()
    assert 0 <= face.confidence <= 1
    assert isinstance(engine.find(picture), list)


def test_engines_of_one_process_share_their_networks(with_weights: Path) -> None:
    """One copy of 46 million weights per worker would not fit a small GPU."""
    one: Any = load_engine("s3fd-fan")
    other: Any = load_engine("s3fd-fan")
    assert one is not other
    assert one._landmarker._net is other._landmarker._net


def test_missing_weights_say_where_they_come_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path))
    with pytest.raises(MissingEngine, match=r"s3fd\.safetensors, 2dfan\.safetensors") as error:
        load_engine("face-alignment")
    assert "understudy engines fetch face-alignment" in error.value.hint
    assert "understudy engines add FILE" in error.value.hint


def test_a_device_that_is_not_there_is_named(with_weights: Path) -> None:
    with pytest.raises(InvalidOption, match="cuda:99"):
        load_engine("s3fd-fan", device="cuda:99")


def test_weights_of_another_network_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path))
    folder = engine_folder("s3fd-fan")
    folder.mkdir(parents=True)
    save_file({"conv1_1.weight": torch.zeros(3)}, folder / "s3fd.safetensors")
    (folder / "2dfan.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(IncompatibleModel, match=r"s3fd\.safetensors"):
        load_engine("s3fd-fan")
    with pytest.raises(IncompatibleModel, match="do not fit"):
        put_weights(network_of("s3fd"), {"conv1_1.weight": torch.zeros(3)})


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_answers_like_the_processor(with_weights: Path) -> None:
    pictures = [np.random.default_rng(n).integers(0, 256, (130, 140, 3), dtype=np.uint8) for n in range(3)]
    looks = [Look(picture, Rect(30, 30, 90, 100)) for picture in pictures]
    heats = []
    for device in ("cpu", "cuda:0"):
        engine: Any = load_engine("s3fd-fan", device=device, accuracy=Accuracy.FAST)
        crops = np.stack([cut_window(look.picture, window_of(look, up=0.0), 256) for look in looks])
        heats.append(engine._landmarker._heat(crops))
        assert len(engine.find_batch(pictures)) == 3
    scale = np.abs(heats[0]).max()
    assert np.abs(heats[0] - heats[1]).max() < 0.01 * scale
