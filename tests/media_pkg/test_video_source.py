"""Reading videos: upright planes, exact times, and what is done about files that are not what they seem."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import picture, write_clip

from understudy.errors import MediaError, MissingFootage, UnreadableMedia
from understudy.media import ColourTags, open_footage, probe
from understudy.media.planes import planes_of


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p", "yuv420p10le", "gray", "gbrp10le", "bgra"])
def test_planes_come_as_they_were_stored(tmp_path: Path, name: str) -> None:
    """Nothing between file and frame touches a sample."""
    write_clip(tmp_path / "a.mkv", [0, 1, 2], name=name)
    with open_footage(tmp_path / "a.mkv") as footage:
        for frame in footage.frames():
            for seen, stored in zip(frame.planes(), planes_of(picture(frame.index, name=name)), strict=True):
                np.testing.assert_array_equal(seen, stored)
    assert not footage.skipped


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("name", ["yuv420p", "yuv422p"])
def test_turned_footage_stands_upright(tmp_path: Path, rotation: int, name: str) -> None:
    """Planes are turned sample by sample; 4:2:2 on its side keeps its samples as 4:4:4."""
    write_clip(tmp_path / "a.mov", [0, 1], codec="libx264", name=name, rotation=rotation)
    with open_footage(tmp_path / "a.mov") as footage:
        frame = next(footage.frames())
    turns = footage.info.rotation // 90
    assert footage.info.rotation == rotation
    assert (footage.info.width, footage.info.height) == ((48, 64) if turns % 2 else (64, 48))
    np.testing.assert_array_equal(frame.planes()[0], np.rot90(planes_of(picture(0, name=name))[0], turns))
    assert frame.pix_fmt == ("yuv444p" if name == "yuv422p" and turns % 2 else name)


def test_irregular_times_are_kept(tmp_path: Path) -> None:
    """Every frame keeps its own time, and the mean rate is told."""
    times = [0, 3000, 6000, 15000, 15500, 90000]
    write_clip(tmp_path / "a.mp4", times, time_base=Fraction(1, 90000), codec="libx264")
    info = probe(tmp_path / "a.mp4")
    assert info.vfr
    with open_footage(tmp_path / "a.mp4") as footage:
        assert [frame.time for frame in footage.frames()] == [Fraction(time, 90000) for time in times]


@pytest.mark.parametrize("form", ["mp4", "mkv", "ts", "avi"])
def test_reading_can_start_anywhere(tmp_path: Path, form: str) -> None:
    """Frames from a position on are the same frames, with the same index, name and time."""
    write_clip(tmp_path / f"a.{form}", list(range(300)), codec="libx264", size=(32, 16))
    with open_footage(tmp_path / f"a.{form}") as footage:
        whole = list(footage.frames())
        for start in (0, 1, 99, 100, 250, 251, 299, 300):
            part = list(footage.frames(start))
            assert [(f.index, f.name, f.pts) for f in part] == [(f.index, f.name, f.pts) for f in whole[start:]]
            for one, other in zip(part, whole[start:], strict=True):
                np.testing.assert_array_equal(one.planes()[0], other.planes()[0])


def test_a_picture_that_changes_size_is_no_crash(tmp_path: Path) -> None:
    """Two recordings in one stream, as broadcasts have them: both are read and the change is told."""
    write_clip(tmp_path / "a.ts", list(range(10)), codec="libx264")
    write_clip(tmp_path / "b.ts", list(range(10, 20)), codec="libx264", size=(96, 64))
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    with open_footage(joined) as footage:
        sizes = [(frame.rgb8.shape[1], frame.rgb8.shape[0]) for frame in footage.frames()]
    assert sizes[0] == (64, 48)
    assert sizes[-1] == (96, 64)
    assert any("changes" in problem for problem in footage.info.problems)


def test_untagged_footage_follows_the_rule_of_players(tmp_path: Path) -> None:
    """BT.601 below HD, BT.709 from HD on; limited range."""
    colours = {}
    for size in ((64, 48), (1280, 720)):
        write_clip(tmp_path / "a.mkv", [0], size=size, tags=(0, 2, 2, 2))
        with open_footage(tmp_path / "a.mkv") as footage:
            frame = next(footage.frames())
        assert footage.info.tags == ColourTags()
        colours[size] = frame.rgb8[20, 20]
        y, cb, cr = (
            float(plane[20 // step, 20 // step]) for plane, step in zip(frame.planes(), (1, 2, 2), strict=True)
        )
        red = 1.402 if size[0] < 1280 else 1.5748
        expected = (y - 16) * 255 / 219 + red * (cr - 128) * 255 / 224
        assert frame.rgb8[20, 20, 0] == pytest.approx(expected, abs=3)
        assert 0 <= cb <= 255


@pytest.mark.parametrize(
    "content", [b"", b"once upon a time\n" * 40, b"#EXTM3U\n/etc/hosts\n", b"ffconcat version 1.0\nfile a.mp4\n"]
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    """Empty files, text, and play lists that point elsewhere."""
    write_clip(tmp_path / "a.mp4", [0], codec="libx264")
    path = tmp_path / "b.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableMedia) as refusal:
        open_footage(path)
    assert refusal.value.hint
    with pytest.raises(MissingFootage):
        open_footage(tmp_path / "nowhere.mp4")


def test_the_cover_of_an_album_is_no_footage(tmp_path: Path) -> None:
    """A song with a picture in it is sound; a video that carries a thumbnail is the video."""
    path = tmp_path / "song.mp3"
    with av.open(str(path), "w") as container:
        track = container.add_stream("libmp3lame", rate=44100)
        cover = container.add_stream("png", rate=1)
        assert isinstance(track, av.AudioStream)
        assert isinstance(cover, av.VideoStream)
        track.codec_context.layout = "mono"
        cover.width, cover.height, cover.pix_fmt = 64, 48, "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 11520), np.float32), "fltp", "mono")
        silence.sample_rate = 44100
        container.mux(cover.encode(picture(0, name="rgb24")))
        container.mux(cover.encode(None))
        container.mux(track.encode(silence))
        container.mux(track.encode(None))
    with pytest.raises(UnreadableMedia, match="no picture"):
        open_footage(path)


@pytest.mark.parametrize("form", ["mp4", "mkv", "ts", "avi"])
def test_damaged_files_give_frames_or_a_clear_error(tmp_path: Path, form: str) -> None:
    """Bytes changed and ends cut off anywhere: nothing but our own errors comes out."""
    write_clip(tmp_path / f"a.{form}", list(range(20)), codec="libx264", size=(32, 16))
    whole = (tmp_path / f"a.{form}").read_bytes()
    draw = np.random.default_rng(7)
    for count in [1, 3, 10, 40] * 5:
        data = bytearray(whole)
        for place in draw.integers(0, len(data), count):
            data[place] = draw.integers(256)
        broken = tmp_path / "broken.bin"
        broken.write_bytes(data[: draw.integers(len(data) // 4, len(data))])
        with contextlib.suppress(MediaError):
            assert probe(broken).width > 0
            with open_footage(broken) as footage:
                assert all(frame.rgb8.ndim == 3 for frame in footage.frames())
