"""Compositing onto native planes: what is covered changes, what is not stays byte for byte."""

from __future__ import annotations

import pickle
from fractions import Fraction

import numpy as np
import pytest

from understudy.media import ColourTags, Frame, composite_onto
from understudy.media.planes import layout_of, new_frame, plain, plain_format, planes_of

FORMATS = [
    "yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuv420p10le", "yuv422p10le", "yuv444p12le", "yuv411p", "yuva420p",
    "gray", "gray10le", "gbrp", "gbrp10le", "rgb24", "bgra", "rgb48le",
]  # fmt: skip
SIZES = [(64, 48), (33, 21)]


def noise(name: str, width: int, height: int, seed: int = 0, low: float = 0.3, high: float = 0.7) -> Frame:
    """A frame of random samples between two levels of the format's range."""
    picture = new_frame(width, height, name)
    layout = layout_of(name)
    assert layout is not None
    draw = np.random.default_rng(seed)
    for plane in planes_of(picture):
        plane[...] = draw.uniform(low * layout.peak, high * layout.peak, plane.shape)
    picture.pts, picture.time_base = 7, Fraction(1, 25)
    return Frame(0, "00001.png", picture, 7, Fraction(1, 25), tags=ColourTags(matrix="bt709"))


def blob(width: int, height: int) -> np.ndarray:
    """A soft ellipse (h, w) float32 with zeros around it."""
    y, x = np.mgrid[0:height, 0:width]
    distance = np.hypot((x - width / 2) / (width / 2), (y - height / 2) / (height / 2))
    return np.clip(2 * (0.8 - distance), 0, 1).astype(np.float32)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("name", FORMATS)
def test_samples_that_nothing_covers_keep_their_bytes(name: str, size: tuple[int, int]) -> None:
    """Luma and RGB by pixel; chroma by any pixel that a sample covers."""
    frame = noise(name, *size)
    box = (5, 3, 26, 18)
    alpha = blob(21, 15)
    image = np.random.default_rng(1).uniform(0, 1, (15, 21, 3)).astype(np.float32)
    made = composite_onto(frame, image, alpha, box)
    covered = np.zeros((frame.height, frame.width), bool)
    covered[3:18, 5:26] = alpha > 0
    layout = layout_of(name)
    assert layout is not None
    for i, (old, new) in enumerate(zip(frame.planes(), made.planes(), strict=True)):
        across, down = layout.sub if layout.family == "yuv" and i in (1, 2) else (1, 1)
        touched = np.zeros(old.shape[:2], bool)
        rows, columns = np.nonzero(covered)
        touched[rows // down, columns // across] = True
        np.testing.assert_array_equal(old[~touched], new[~touched])
    assert any((old != new).any() for old, new in zip(frame.planes(), made.planes(), strict=True))


@pytest.mark.parametrize("matrix", ["bt709", "smpte170m", "bt2020nc"])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("name", ["yuv420p", "yuv444p", "yuv420p10le", "gbrp10le", "bgra"])
def test_colours_arrive_as_they_were_meant(name: str, full: bool, matrix: str) -> None:
    """What is written with a matrix and range reads back through another implementation of them, libswscale's."""
    frame = noise(name, 64, 48)
    object.__setattr__(frame, "tags", ColourTags("pc" if full else "tv", matrix))
    image = np.empty((16, 16, 3), np.float32)
    image[...] = (0.8, 0.3, 0.5)
    made = composite_onto(frame, image, np.ones((16, 16), np.float32), (16, 16, 32, 32))
    seen = Frame(0, "a", made.native(), tags=made.tags)
    np.testing.assert_allclose(seen.rgb8[18:30, 18:30] / 255, image[2:14, 2:14], atol=3 / 255)
    np.testing.assert_allclose(seen.rgb[20:28, 20:28], image[4:12, 4:12], atol=3 / 255)


def test_the_rgb_view_is_exact() -> None:
    """Pictures are written from the RGB view, which must not pass through YUV where the caller gave RGB."""
    frame = noise("yuv420p", 64, 48)
    image = np.random.default_rng(1).uniform(0, 1, (15, 21, 3)).astype(np.float32)
    alpha = blob(21, 15)
    made = composite_onto(frame, image, alpha, (5, 3, 26, 18))
    expected = frame.rgb8.copy()
    region = expected[3:18, 5:26]
    region[alpha > 0] = np.rint(image * 255)[alpha > 0]
    np.testing.assert_array_equal(made.rgb8, expected)


def test_whites_above_the_nominal_range_survive_a_soft_edge() -> None:
    """The RGB view clips them, so what shines through must come from the planes."""
    frame = noise("yuv420p", 32, 32)
    frame.planes()[0][...] = 250
    frame.planes()[1][...] = frame.planes()[2][...] = 128
    frame._views.clear()
    alpha = np.full((32, 32), 0.25, np.float32)
    image = 0.75 * frame.rgb  # a black face at a quarter
    made = composite_onto(frame, image, alpha, (0, 0, 32, 32))
    assert set(np.unique(made.planes()[0])) <= {191, 192}  # 16 + 0.75 * (250 - 16)


def test_a_face_equal_to_the_plate_changes_nothing_visible() -> None:
    """Rounding apart, laying a picture over itself gives the same planes."""
    frame = noise("yuv444p10le", 64, 48, low=0.45, high=0.55)
    made = composite_onto(frame, frame.rgb, np.full((48, 64), 0.5, np.float32), (0, 0, 64, 48))
    for old, new in zip(frame.planes(), made.planes(), strict=True):
        assert np.abs(old.astype(int) - new).max() <= 1


def test_later_faces_lie_over_earlier_ones() -> None:
    """Two faces in one frame, overlapping."""
    frame = noise("yuv444p", 64, 48)
    ones = np.ones((20, 20), np.float32)
    red = np.tile(np.float32([1, 0, 0]), (20, 20, 1))
    made = composite_onto(composite_onto(frame, red, ones, (4, 4, 24, 24)), red[..., ::-1], ones, (14, 14, 34, 34))
    seen = Frame(0, "a", made.native(), tags=made.tags).rgb
    np.testing.assert_allclose(seen[8, 8], [1, 0, 0], atol=0.02)
    np.testing.assert_allclose(seen[20, 20], [0, 0, 1], atol=0.02)
    np.testing.assert_allclose(made.rgb8[20, 20], [0, 0, 255])


def test_a_box_may_reach_over_the_edge() -> None:
    """Faces are cut by the frame's edge; one wholly outside leaves the frame itself."""
    frame = noise("yuv420p", 33, 21)
    image, alpha = np.ones((20, 20, 3), np.float32), np.ones((20, 20), np.float32)
    made = composite_onto(frame, image, alpha, (-10, 10, 10, 30))
    assert (made.planes()[0][10:, :10] == 235).all()
    np.testing.assert_array_equal(made.planes()[0][:10], frame.planes()[0][:10])
    assert composite_onto(frame, image, alpha, (40, 0, 60, 20)) is frame
    with pytest.raises(ValueError, match="do not fit"):
        composite_onto(frame, image, alpha, (0, 0, 10, 10))


def test_linear_plates_keep_their_floats() -> None:
    """A float plate is linear light with values above 1; only what is covered changes, to what was given."""
    linear = np.random.default_rng(3).uniform(0, 4, (24, 32, 3)).astype(np.float32)
    frame = Frame.from_rgb(linear)
    image = np.full((8, 8, 3), 0.5, np.float32)
    made = composite_onto(frame, image, np.ones((8, 8), np.float32), (8, 8, 16, 16))
    assert made.rgb.max() <= 1
    planes = np.dstack([made.planes()[i] for i in (2, 0, 1)])
    np.testing.assert_array_equal(planes[:8], linear[:8])
    np.testing.assert_allclose(planes[8:16, 8:16], 0.21404, atol=1e-4)


@pytest.mark.parametrize("name", ["nv12", "yuyv422", "uyvy422", "p010le", "yuv420p10be", "gbrp10be", "rgb48be"])
def test_other_orders_of_the_same_samples_lose_nothing(name: str) -> None:
    """Formats that are exchanged on reading go back to the very same bytes."""
    source = noise(plain_format(name), 64, 48).picture
    stored = source.reformat(format=name)
    again = plain(stored)
    assert again.format.name == source.format.name
    for old, new in zip(planes_of(source), planes_of(again), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_frame_survives_pickling() -> None:
    """Frames travel between processes with their planes, time and patches."""
    frame = noise("yuv420p10le", 33, 21)
    made = composite_onto(frame, np.ones((5, 5, 3), np.float32), np.ones((5, 5), np.float32), (2, 2, 7, 7))
    again = pickle.loads(pickle.dumps(made))
    assert (again.pts, again.time_base, again.name, again.tags) == (7, Fraction(1, 25), "00001.png", frame.tags)
    for old, new in zip(made.planes(), again.planes(), strict=True):
        np.testing.assert_array_equal(old, new)
