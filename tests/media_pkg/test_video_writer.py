"""Writing videos: nothing lost where nothing may be, times and sound as in the source."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from clips import write_clip

from understudy.errors import EncodingFailed, InvalidOption
from understudy.media import ColourTags, EncodeOptions, FootageInfo, Frame, VideoWriter, open_footage


def copy(source: Path, target: Path, options: EncodeOptions) -> VideoWriter:
    with (
        open_footage(source) as footage,
        VideoWriter(target, footage.info, options=options, audio_from=source) as video,
    ):
        for frame in footage.frames():
            video.write(frame)
    return video


def packets(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and bytes of every packet of the first sound track, on the clock of the picture."""
    with av.open(str(path)) as container:
        track = container.streams.audio[0]
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(track) if packet.size]


@pytest.mark.parametrize(
    ("name", "size", "form"),
    [
        ("yuv420p", (64, 48), "mp4"), ("yuv420p", (33, 21), "mp4"), ("yuv420p", (33, 21), "mkv"),
        ("yuv422p", (64, 48), "mov"), ("yuv444p", (33, 21), "mp4"), ("yuvj420p", (64, 48), "mkv"),
        ("yuv420p10le", (64, 48), "mp4"), ("yuv422p10le", (64, 48), "mkv"), ("yuv444p12le", (64, 48), "mkv"),
        ("gray", (64, 48), "mkv"), ("gbrp10le", (64, 48), "mkv"), ("bgra", (64, 48), "mkv"),
        ("yuv420p", (64, 48), "avi"),
    ],
)  # fmt: skip
def test_lossless_gives_every_plane_back(tmp_path: Path, name: str, size: tuple[int, int], form: str) -> None:
    """A merge that changes nothing must give the decoded dst, plane for plane, in its own pixel format."""
    codec = "libx264" if name == "yuvj420p" else "ffv1"
    write_clip(tmp_path / "a.mkv", list(range(6)), name=name, size=size, codec=codec)
    copy(tmp_path / "a.mkv", tmp_path / f"b.{form}", EncodeOptions.of(format=form, lossless=True))
    with open_footage(tmp_path / "a.mkv") as old, open_footage(tmp_path / f"b.{form}") as new:
        pairs = list(zip(old.frames(), new.frames(), strict=True))
    for before, after in pairs:
        assert after.pix_fmt == before.pix_fmt
        assert after.time == before.time
        for one, other in zip(before.planes(), after.planes(), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_video_of_pictures(tmp_path: Path, dtype: type) -> None:
    """A folder of PNG frames keeps every RGB value."""
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (21, 33, 3), endpoint=True).astype(dtype)
    frame = Frame.from_rgb(pixels)
    like = dataclasses.replace(FootageInfo.plain(33, 21, 25), pix_fmt=frame.pix_fmt, tags=ColourTags("pc"))
    with VideoWriter(tmp_path / "a.mkv", like, options=EncodeOptions.of(format="mkv", lossless=True)) as video:
        video.write(frame)
    with open_footage(tmp_path / "a.mkv") as footage:
        again = next(footage.frames())
    np.testing.assert_array_equal(again.rgb16 if dtype is np.uint16 else again.rgb8, pixels)


@pytest.mark.parametrize("form", ["mp4", "mov", "mkv"])
def test_times_size_tags_and_sound_are_kept(tmp_path: Path, form: str) -> None:
    """An irregular clip whose sound starts late, in containers that hold all of it."""
    times = [0, 4500, 9000, 27000, 28800, 63000]
    write_clip(tmp_path / "a.mp4", times, time_base=Fraction(1, 90000), codec="libx264", sound_from=Fraction(1, 3),
               tags=(1, 9, 16, 9))  # fmt: skip
    copy(tmp_path / "a.mp4", tmp_path / f"b.{form}", EncodeOptions.of(format=form, preset="ultrafast"))
    with open_footage(tmp_path / "a.mp4") as old, open_footage(tmp_path / f"b.{form}") as new:
        assert [frame.time for frame in new.frames()] == [Fraction(time, 90000) for time in times]
        for fact in ("width", "height", "tags", "sar", "bit_depth"):
            assert getattr(new.info, fact) == getattr(old.info, fact)
    before, after = packets(tmp_path / "a.mp4"), packets(tmp_path / f"b.{form}")
    assert [data for _, data in after] == [data for _, data in before]
    for (old_time, _), (new_time, _) in zip(before, after, strict=True):
        assert abs(old_time - new_time) <= Fraction(1, 1000)


def test_footage_that_starts_late_starts_at_zero(tmp_path: Path) -> None:
    """Recordings cut from a stream begin at any hour; the result begins at 0 and sound keeps its place."""
    hour = 3600 * 90000
    write_clip(tmp_path / "a.ts", [hour + 3600 * i for i in range(10)], time_base=Fraction(1, 90000), codec="libx264")
    copy(tmp_path / "a.ts", tmp_path / "b.mp4", EncodeOptions.of(lossless=True))
    with open_footage(tmp_path / "b.mp4") as footage:
        assert [frame.time for frame in footage.frames()] == [Fraction(i, 25) for i in range(10)]


def test_sound_that_a_container_does_not_hold_is_encoded(tmp_path: Path) -> None:
    """PCM in MP4 plays almost nowhere: AAC instead, and it is said."""
    write_clip(tmp_path / "a.mkv", list(range(20)), sound_from=Fraction(0), sound="pcm_f32le")
    video = copy(tmp_path / "a.mkv", tmp_path / "b.mp4", EncodeOptions.of(preset="ultrafast"))
    assert any("encoded anew" in note for note in video.notes)
    with open_footage(tmp_path / "b.mp4") as footage:
        assert [track.codec for track in footage.info.audio] == ["aac"]
        assert footage.info.start == 0


def test_deep_footage_stays_deep_and_compatible_plays_everywhere(tmp_path: Path) -> None:
    """10 bit goes out as 10 bit unless the user wants the most widely played kind."""
    write_clip(tmp_path / "a.mkv", [0, 1], name="yuv422p10le")
    for options, expected in (({}, "yuv422p10le"), ({"compatible": True}, "yuv420p")):
        copy(tmp_path / "a.mkv", tmp_path / "b.mp4", EncodeOptions.of(preset="ultrafast", **options))
        with open_footage(tmp_path / "b.mp4") as footage:
            assert footage.info.pix_fmt == expected


def test_odd_sizes_are_delivered(tmp_path: Path) -> None:
    """H.264 has no odd 4:2:0: the chroma is stored for every pixel instead, and the size stays."""
    write_clip(tmp_path / "a.mkv", [0, 1], size=(33, 21))
    copy(tmp_path / "a.mkv", tmp_path / "b.mp4", EncodeOptions.of(preset="ultrafast"))
    with open_footage(tmp_path / "b.mp4") as footage:
        assert (footage.info.width, footage.info.height, footage.info.pix_fmt) == (33, 21, "yuv444p")


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    """A result appears when it is whole; until then the last one stands and nothing lies about."""
    target = tmp_path / "out" / "result.mp4"
    target.parent.mkdir()
    target.write_bytes(b"the old result")
    like = FootageInfo.plain(64, 48, 25)

    def fail_half_way() -> None:
        with VideoWriter(target, like) as video:
            video.write(Frame.from_rgb(np.zeros((48, 64, 3), np.uint8), pts=0, time_base=Fraction(1, 25)))
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert target.read_bytes() == b"the old result"
    with pytest.raises(EncodingFailed), VideoWriter(target, like):
        pass
    assert [path.name for path in target.parent.iterdir()] == ["result.mp4"]


def test_what_does_not_go_together_is_said(tmp_path: Path) -> None:
    """Codec and container, lossless and bit rate."""
    with pytest.raises(EncodingFailed, match="do not hold") as refusal:
        VideoWriter(tmp_path / "a.mp4", FootageInfo.plain(64, 48, 25), options=EncodeOptions.of(codec="prores"))
    assert "mkv" in refusal.value.hint
    with pytest.raises(InvalidOption, match="bitrate") as misuse:
        EncodeOptions.of(lossless=True, bitrate=5)
    assert "Value error" not in misuse.value.message
    assert "given" not in misuse.value.message


def test_pictures_become_a_video_of_their_colours(tmp_path: Path) -> None:
    """RGB frames go through BT.709 limited range and come back."""
    pixels = np.zeros((48, 64, 3), np.uint8)
    pixels[:, :32] = (200, 60, 120)
    like = FootageInfo.plain(64, 48, Fraction(30000, 1001))
    with VideoWriter(tmp_path / "a.mp4", like, options=EncodeOptions.of(crf=1)) as video:
        for index in range(5):
            video.write(Frame.from_rgb(pixels, index=index))
    with open_footage(tmp_path / "a.mp4") as footage:
        frames = list(footage.frames())
    assert footage.info.rate == Fraction(30000, 1001)
    assert [frame.time for frame in frames] == [index * Fraction(1001, 30000) for index in range(5)]
    np.testing.assert_allclose(frames[2].rgb8[10:20, 5:25], pixels[10:20, 5:25], atol=4)
