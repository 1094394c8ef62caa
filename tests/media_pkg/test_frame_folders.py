"""Folders of pictures as footage: numbers kept, gaps and copies named, any mixture read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from understudy.errors import NoFrames
from understudy.imaging.files import encode_jpg, encode_png, read_image, write_exr
from understudy.media import FootageKind, Frame, FrameFolderWriter, FrameFormat, open_footage


def put(path: Path, level: int = 90, size: tuple[int, int] = (20, 12)) -> None:
    pixels = np.full((size[1], size[0], 3), level, np.uint8)
    path.write_bytes(encode_jpg(pixels) if path.suffix == ".jpg" else encode_png(pixels))


def test_a_gap_is_named_and_numbers_are_kept(tmp_path: Path) -> None:
    """A missing frame must not shift the ones after it: faces are found by the name of their frame."""
    for number in (8, 9, 10, 12):
        put(tmp_path / f"shot.{number:04d}.png", number)
    with open_footage(tmp_path) as footage:
        frames = list(footage.frames())
    assert footage.info.kind is FootageKind.SEQUENCE
    assert [(frame.index, frame.name) for frame in frames] == [
        (0, "shot.0008.png"), (1, "shot.0009.png"), (2, "shot.0010.png"), (4, "shot.0012.png")
    ]  # fmt: skip
    assert [item.item for item in footage.skipped] == ["shot.0011.png"]


def test_numbers_without_zeros_are_in_order(tmp_path: Path) -> None:
    """2 comes before 10."""
    for number in range(1, 13):
        put(tmp_path / f"{number}.png", number)
    with open_footage(tmp_path) as footage:
        assert [int(frame.rgb8[0, 0, 0]) for frame in footage.frames()] == list(range(1, 13))


def test_photos_of_any_size_and_kind(tmp_path: Path) -> None:
    """Names without a common number are read in order of name; sizes differ; broken ones are named."""
    put(tmp_path / "beach.jpg", 50, (30, 20))
    put(tmp_path / "zoo.png", 60, (10, 40))
    (tmp_path / "holiday.png").write_bytes(b"not a picture")
    (tmp_path / "notes.txt").write_text("no frame")
    write_exr(tmp_path / "plate.exr", np.full((8, 8, 3), 0.5, np.float32))
    with open_footage(tmp_path) as footage:
        seen = [(frame.name, frame.rgb8.shape[:2]) for frame in footage.frames()]
    assert footage.info.kind is FootageKind.PHOTOS
    assert seen == [("beach.jpg", (20, 30)), ("plate.exr", (8, 8)), ("zoo.png", (40, 10))]
    assert [item.item for item in footage.skipped] == ["holiday.png"]


def test_of_two_files_of_one_stem_the_lossless_is_used(tmp_path: Path) -> None:
    """Frames extracted twice, as png and as jpg, are not two frames."""
    put(tmp_path / "00001.jpg", 10)
    put(tmp_path / "00001.png", 20)
    with open_footage(tmp_path) as footage:
        assert [int(frame.rgb8[0, 0, 0]) for frame in footage.frames()] == [20]
    assert [item.item for item in footage.skipped] == ["00001.jpg"]


def test_a_folder_with_nothing_usable(tmp_path: Path) -> None:
    """Empty, or only broken pictures: a clear refusal."""
    with pytest.raises(NoFrames):
        open_footage(tmp_path)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    with pytest.raises(NoFrames):
        open_footage(tmp_path)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_png_frames_are_exact(tmp_path: Path, kind: type) -> None:
    """8 bit stays 8 bit and 16 bit 16 bit, every value; the matte goes along."""
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, np.iinfo(kind).max, (13, 17, 3), endpoint=True).astype(kind)
    matte = draw.integers(0, 256, (13, 17)).astype(np.float32) / 255
    path = FrameFolderWriter(tmp_path).write(Frame(4, "00005.jpg", pixels, alpha=matte))
    assert path.name == "00005.png"
    again = read_image(path)
    assert again.rgb.dtype == kind
    np.testing.assert_array_equal(again.rgb, pixels)
    np.testing.assert_allclose(again.matte, matte, atol=1e-6)


def test_exr_frames_are_linear(tmp_path: Path) -> None:
    """A float plate keeps its values, an 8-bit one is made linear and looks the same when read."""
    writer = FrameFolderWriter(tmp_path, FrameFormat.EXR)
    plate = np.random.default_rng(0).uniform(0, 3, (9, 7, 3)).astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(read_image(writer.write(Frame.from_rgb(plate))).rgb, plate)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    with open_footage(writer.write(Frame.from_rgb(pixels, index=1))) as footage:
        np.testing.assert_allclose(next(footage.frames()).rgb8, pixels, atol=1)
