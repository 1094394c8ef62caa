"""Cuts are found; flashes, fades, exposure jumps and moving cameras are none."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from understudy.media.shots import ShotFinder

SIZE = (256, 144)
LENGTH = 24


def scene(seed: int, length: int = LENGTH, pan: float = 1.0) -> np.ndarray:
    """(N, H, W, 3) uint8: soft shapes of many sizes that drift by `pan` px per frame, with a little grain."""
    draw = np.random.default_rng(seed)
    wide = np.zeros((SIZE[1], 4 * SIZE[0], 3), np.float32)
    for cells in (6, 14, 40):
        coarse = draw.uniform(-1, 1, (cells, 4 * cells, 3)).astype(np.float32)
        wide += cv2.resize(coarse, (wide.shape[1], wide.shape[0]), interpolation=cv2.INTER_CUBIC) * (90 / cells**0.3)
    frames = [np.roll(wide, -round(i * pan), axis=1)[:, : SIZE[0]] for i in range(length)]
    return levels(np.stack(frames) + 110 + draw.normal(0, 3, (length, SIZE[1], SIZE[0], 3)))


def levels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def starts(frames: np.ndarray) -> list[int]:
    finder = ShotFinder()
    begun = [index for index, frame in enumerate(frames) if finder.feed(frame)]
    assert finder.starts == [0, *begun]
    return begun


@pytest.mark.parametrize("seed", range(8))
def test_a_cut_is_found_at_its_very_frame(seed: int) -> None:
    frames = np.concatenate([scene(seed, 10), scene(seed + 100, 15), scene(seed + 200, 8)])
    assert starts(frames) == [10, 25]


def test_a_cut_between_two_people_before_one_wall() -> None:
    """Most of the picture stays as it is, and yet it is another shot."""
    frames = np.concatenate([scene(1, 20, pan=0), scene(1, 20, pan=0)])
    frames[:20, 20:140, 60:190] = scene(2, 20, pan=0)[:, 20:140, 60:190]
    frames[20:, 20:140, 60:190] = scene(3, 20, pan=0)[:, 20:140, 60:190]
    assert starts(frames) == [20]


def gain(values: list[float], lift: float = 0.0) -> Callable[[np.ndarray], np.ndarray]:
    """Frames 10 onwards times `values`, plus `lift` where the gain is not 1."""

    def apply(frames: np.ndarray) -> np.ndarray:
        factors = np.ones((len(frames), 1, 1, 1))
        factors[10 : 10 + len(values), 0, 0, 0] = values
        return levels(frames * factors + lift * (factors != 1))

    return apply


NO_CUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "flash": gain([1.8, 1.8], lift=50),
    "white frame": gain([0.0], lift=255),
    "exposure up": gain([1.5] * 14),
    "exposure down": gain([0.4] * 14),
    "fade to black and back": gain([0.7, 0.4, 0.2, 0.05, 0, 0, 0.05, 0.2, 0.4, 0.7]),
    "white balance": lambda frames: levels(np.concatenate([frames[:10], frames[10:] * [1.2, 1.0, 0.8]])),
    "noise": lambda frames: levels(frames + np.random.default_rng(0).normal(0, 14, frames.shape)),
}  # fmt: skip


@pytest.mark.parametrize("kind", NO_CUTS)
@pytest.mark.parametrize("seed", range(3))
def test_changing_light_is_no_cut(kind: str, seed: int) -> None:
    assert starts(NO_CUTS[kind](scene(seed))) == []


@pytest.mark.parametrize("pan", [4, 12, 30])
def test_a_fast_pan_is_no_cut(pan: int) -> None:
    assert starts(scene(4, pan=pan)) == []


def test_a_shaking_camera_is_no_cut() -> None:
    draw = np.random.default_rng(5)
    frames = []
    for frame in scene(5):
        turn = cv2.getRotationMatrix2D((128, 72), draw.normal(0, 2), 1.15)
        turn[:, 2] += draw.normal(0, 6, 2)
        frames.append(cv2.warpAffine(frame, turn, SIZE, borderMode=cv2.BORDER_REFLECT))
    assert starts(np.stack(frames)) == []


def test_another_scene_after_black_begins_with_its_first_picture() -> None:
    frames = np.concatenate([scene(6, 12), np.zeros((5, SIZE[1], SIZE[0], 3), np.uint8), scene(7, 12)])
    assert starts(frames) == [17]


def test_a_dissolve_is_no_cut() -> None:
    share = np.clip((np.arange(LENGTH) - 4) / 16, 0, 1)[:, None, None, None]
    assert starts(levels(scene(8) * (1 - share) + scene(9) * share)) == []


@pytest.mark.parametrize("shape", [(2, 3, 3), (36, 64, 3), (20, 2000, 3), (1080, 1920, 3), (960, 540, 3)])
def test_pictures_of_any_size(shape: tuple[int, int, int]) -> None:
    draw = np.random.default_rng(0)
    finder = ShotFinder()
    begun = [finder.feed(draw.integers(0, 256, shape).astype(np.uint8)) for _ in range(3)]
    assert not begun[0]
    assert finder.count == 3
