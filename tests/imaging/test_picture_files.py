"""Pictures in and out of files: right colours, right way up, and a clear word about what is broken."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from understudy.errors import MediaError, UnreadableMedia, UnsupportedMedia
from understudy.imaging.files import decode_image, encode_jpg, encode_png, kind_of, read_image, write_exr
from understudy.imaging.turning import Turn, from_display_matrix, from_exif

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)


def stored(form: str, pixels: np.ndarray = PIXELS, mode: str = "RGB", **settings: object) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form, **settings)
    return buffer.getvalue()


@pytest.mark.parametrize("form", ["PNG", "TIFF", "BMP", "WEBP"])
def test_lossless_formats_give_the_pixels(form: str) -> None:
    """Whatever library reads them."""
    extra = {"lossless": True} if form == "WEBP" else {}
    np.testing.assert_array_equal(decode_image(stored(form, **extra)).rgb, PIXELS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_the_exif_turn_is_applied_once(form: str, orientation: int) -> None:
    """Pillow's own transposition is the outside truth."""
    smooth = np.linspace(0, 255, 16 * 24 * 3).reshape(16, 24, 3).astype(np.uint8)
    image = Image.fromarray(smooth)
    exif = image.getexif()
    exif[274] = orientation
    buffer = io.BytesIO()
    settings = {"lossless": True} if form == "WEBP" else {"quality": 100, "subsampling": 0} if form == "JPEG" else {}
    image.save(buffer, form, exif=exif, **settings)
    picture = decode_image(buffer.getvalue())
    upright = from_exif(orientation).apply(smooth)
    np.testing.assert_allclose(picture.rgb, upright, atol=4)
    assert picture.turn == from_exif(orientation)


def test_turns_agree_with_their_degrees() -> None:
    """A turn is its counter-clockwise quarter turns and then the mirror."""
    square = np.arange(12).reshape(3, 4)
    for orientation in range(1, 9):
        turn = from_exif(orientation)
        expected = np.rot90(square, turn.degrees // 90)
        expected = expected[:, ::-1] if turn.mirrored else expected
        np.testing.assert_array_equal(turn.apply(square), expected)
    assert from_display_matrix(b"short") == Turn()


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "RGBA", "LA"])
def test_other_modes_become_rgb(mode: str) -> None:
    """Grey, palette, CMYK and alpha: three channels of the right colours, alpha apart."""
    smooth = np.full((12, 20, 3), (180, 90, 40), np.uint8)
    form = "JPEG" if mode == "CMYK" else "PNG"
    picture = decode_image(stored(form, smooth, mode))
    expected = np.asarray(Image.fromarray(smooth).convert(mode).convert("RGB"))
    assert picture.rgb.shape == (12, 20, 3)
    np.testing.assert_allclose(picture.rgb, expected, atol=6)
    assert picture.matte is None  # opaque


def test_alpha_is_not_colour() -> None:
    """The matte is kept apart, colours are not multiplied by it."""
    alpha = np.linspace(0, 1, 240, dtype=np.float32).reshape(12, 20)
    picture = decode_image(encode_png(PIXELS, alpha))
    np.testing.assert_array_equal(picture.rgb, PIXELS)
    assert picture.matte is not None
    np.testing.assert_allclose(picture.matte, alpha, atol=0.5 / 255 + 1e-6)


def test_content_counts_and_not_the_name(tmp_path: Path) -> None:
    """A PNG called .jpg is a PNG; text called .png is nothing."""
    path = tmp_path / "a.jpg"
    path.write_bytes(encode_png(PIXELS))
    assert read_image(path).kind == "png"
    path.write_text("hello")
    with pytest.raises(UnreadableMedia) as refusal:
        read_image(path)
    assert "DPX" in refusal.value.hint


def test_a_cut_jpeg_gives_its_rows_and_says_so() -> None:
    """Half a photograph is better than none, as long as nobody takes it for a whole one."""
    data = encode_jpg(np.repeat(np.repeat(PIXELS, 8, axis=0), 8, axis=1))
    assert decode_image(data).problem is None
    picture = decode_image(data[: len(data) * 6 // 10])
    assert picture.rgb.shape == (96, 160, 3)
    assert picture.problem is not None


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF", "BMP"])
def test_other_cut_files_are_refused(form: str) -> None:
    """Not a silent black half."""
    data = stored(form, np.repeat(np.repeat(PIXELS, 8, axis=0), 8, axis=1))
    with pytest.raises(UnreadableMedia):
        decode_image(data[: len(data) // 2])


def test_exr_without_colour_is_refused(tmp_path: Path) -> None:
    """The channels that are there are named."""
    OpenEXR = pytest.importorskip("OpenEXR")  # noqa: N806 - the package's own name
    path = tmp_path / "depth.exr"
    with OpenEXR.File({}, {"Z": np.zeros((4, 4), np.float32)}) as file:
        file.write(str(path))
    with pytest.raises(UnsupportedMedia, match="Z"):
        read_image(path)


def test_exr_values_that_are_no_numbers_become_black(tmp_path: Path) -> None:
    """One bad pixel must not spread through a blur over the whole face."""
    linear = np.full((4, 5, 3), 0.5, np.float32)
    linear[1, 2] = np.nan
    linear[2, 2] = np.inf
    write_exr(tmp_path / "a.exr", linear)
    picture = read_image(tmp_path / "a.exr")
    assert np.isfinite(picture.rgb).all()
    assert "2 pixels" in (picture.problem or "")


def test_a_tiff_that_claims_to_be_enormous_is_unreadable() -> None:
    tiff = bytearray(stored("TIFF"))
    entry = tiff.index(b"\x00\x01\x04\x00\x01\x00\x00\x00")  # ImageWidth, one long number
    tiff[entry + 8 : entry + 12] = (200_000_000).to_bytes(4, "little")
    with pytest.raises(MediaError, match="limit"):
        decode_image(bytes(tiff))


@settings(max_examples=150, deadline=None)
@given(
    start=st.sampled_from(
        [stored(form) for form in ("PNG", "TIFF", "BMP", "WEBP", "JPEG")] + [b"SDPX", b"\x76\x2f\x31\x01"]
    ),
    place=st.floats(0, 1),
    junk=st.binary(max_size=40),
)
def test_foreign_bytes_give_a_picture_or_a_clear_error(start: bytes, place: float, junk: bytes) -> None:
    """Damage anywhere in a file never escapes as another kind of error."""
    at = int(place * len(start))
    try:
        picture = decode_image(start[:at] + junk + start[at + len(junk) :])
    except MediaError:
        return
    assert picture.rgb.ndim == 3
    assert kind_of(start) is not None
