"""A part of a video: exactly the frames that were asked for, with everything that belongs to them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from clips import write_clip

from disks import fill, small_disk
from understudy.errors import (
    DiskFull,
    EncodingFailed,
    Interrupted,
    InvalidOption,
    UnderstudyError,
    UnreadableMedia,
    UsageError,
)  # fmt: skip
from understudy.media import ColourTags, CutOptions, FootageInfo, open_footage, probe
from understudy.report import Event, Note
from understudy.stages.cut_video import cut_video


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "home"))


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """40 frames at 20 frames/s, every fourth at another step."""
    path = tmp_path / "take.mkv"
    write_clip(path, [i + i // 4 for i in range(40)], time_base=Fraction(1, 20), sound_from=Fraction(0))
    return path


def frames_of(path: Path) -> tuple[FootageInfo, list[tuple[str, Fraction]]]:
    """What the footage is, and hash of the planes and time of every frame."""
    with open_footage(path) as footage:
        return footage.info, [
            (hashlib.md5(b"".join(np.ascontiguousarray(p).tobytes() for p in frame.planes())).hexdigest(), frame.time)
            for frame in footage.frames()
        ]


def assert_part(source: Path, made: Path, first: int, count: int) -> None:
    """`made` holds exactly the planes of those frames, at their distances in time."""
    whole, part = frames_of(source)[1][first : first + count], frames_of(made)[1]
    assert [planes for planes, _ in part] == [planes for planes, _ in whole]
    assert [time - part[0][1] for _, time in part] == [time - whole[0][1] for _, time in whole]


@pytest.mark.parametrize(
    ("from_", "to", "first", "count"),
    [
        ("", "", 0, 40), ("f6", "f15", 5, 10), ("0.5", "", 8, 32), ("", "00:00:01.000", 0, 16), ("39f", "", 38, 2),
        ("0.49", "0.51", 8, 1), ("", "0", 0, 40), ("f12", "1:02", 11, 29),
    ],
)  # fmt: skip
def test_the_frames_asked_for(clip: Path, from_: str, to: str, first: int, count: int) -> None:
    result = cut_video(clip, CutOptions.of(from_=from_, to=to, lossless=True))
    assert (result.frames, result.outputs) == (count, [clip.with_name("take_cut.mkv")])
    assert_part(clip, result.outputs[0], first, count)


def test_printed_times_name_their_frames(tmp_path: Path) -> None:
    """Times are shown to the millisecond: what was read can be typed again."""
    path = tmp_path / "film.mp4"
    write_clip(path, list(range(0, 48048, 1001)), time_base=Fraction(1, 24000), codec="libx264")
    result = cut_video(path, CutOptions.of(from_="0.292", to="00:00:00.792", lossless=True))
    assert (result.notes["first"], result.frames) == (7, 12)


@pytest.mark.parametrize(("from_", "to"), [("f41", ""), ("9", ""), ("1", "0.5"), ("f9", "f8"), ("1:2:3:25", "")])
def test_parts_that_are_not_there(clip: Path, from_: str, to: str) -> None:
    with pytest.raises(UsageError) as refusal:
        cut_video(clip, CutOptions.of(from_=from_, to=to))
    assert refusal.value.hint
    assert [path.name for path in clip.parent.glob("*take*")] == ["take.mkv"]


@pytest.mark.parametrize(
    "values", [{"from_": "soon"}, {"lossless": True, "bitrate": 5}, {"copy_": "only", "bitrate": 5}]
)
def test_options_that_make_no_sense(values: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        CutOptions.of(**values)


def test_an_old_cut_is_replaced_only_when_asked(clip: Path) -> None:
    cut_video(clip, CutOptions.of(to="f3", lossless=True))
    with pytest.raises(UsageError, match="exists already"):
        cut_video(clip, CutOptions.of(to="f4", lossless=True))
    assert probe(clip.with_name("take_cut.mkv")).frames == 3
    assert cut_video(clip, CutOptions.of(to="f4", lossless=True, replace=True)).frames == 4


def test_sound_is_cut_at_the_same_place(clip: Path) -> None:
    """A tone of 0.85 s: from 0.5 s on 0.35 s of it are left, in step with the picture."""
    made = cut_video(clip, CutOptions.of(from_="0.5", lossless=True)).outputs[0]
    (track,) = probe(made).audio
    assert float(track.start) == pytest.approx(0, abs=0.045)  # two packets: the first one only starts the decoder
    with pytest.raises(UsageError, match="no sound track 1"):
        cut_video(clip, CutOptions.of(audio_track=1))


def test_copying_says_where_it_could(tmp_path: Path) -> None:
    """Inter-coded footage can be copied from its key frames only; the refusal names them, the fallback encodes."""
    path = tmp_path / "take.mp4"
    write_clip(path, list(range(300)), codec="libx264")
    with pytest.raises(UsageError, match=r"nearest are at 00:00:00.000 and 00:00:10.000"):
        cut_video(path, CutOptions.of(from_="1", copy_="only"))
    copied = cut_video(path, CutOptions.of(from_="10", copy_="only"))
    assert copied.notes["copied"]
    assert_part(path, copied.outputs[0], 250, 50)
    events: list[Event] = []
    options = CutOptions.of(from_="1", to="2", copy_="if-possible", lossless=True, replace=True)
    encoded = cut_video(path, options, report=events.append)
    assert not encoded.notes["copied"]
    assert any(isinstance(event, Note) and "key frames" in event.message for event in events)
    assert_part(path, encoded.outputs[0], 25, 25)


def test_stopping_leaves_nothing(clip: Path) -> None:
    with pytest.raises(Interrupted):
        cut_video(clip, stop=lambda: True)
    assert [path.name for path in clip.parent.iterdir() if path.is_file()] == ["take.mkv"]


def test_a_killed_cut_is_swept_away(tmp_path: Path) -> None:
    """What it left is gone with the next cut, the footage and strangers' files are untouched."""
    path = tmp_path / "take [1].mkv"
    write_clip(path, list(range(200)), size=(640, 480))
    command = [sys.executable, "-m", "understudy", "video", "cut", str(path), "--preset", "veryslow"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ})
    until = time.monotonic() + 30
    while not list(tmp_path.glob(".tmp-*")) and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL if hasattr(signal, "SIGKILL") else signal.SIGTERM)
    process.wait()
    assert len(list(tmp_path.glob(".tmp-*"))) == 1
    stranger = tmp_path / ".tmp-0123abcd-take 1_cut.mkv"
    stranger.write_bytes(b"")
    assert cut_video(path, CutOptions.of(to="f2", preset="ultrafast")).frames == 2
    assert list(tmp_path.glob(".tmp-*")) == [stranger]


def test_a_full_disk_is_said(clip: Path) -> None:
    with small_disk(mib=1) as disk:
        path = Path(shutil.copy(clip, disk))
        ballast = fill(disk)
        with pytest.raises(DiskFull):
            cut_video(path, CutOptions.of(lossless=True))
        ballast.unlink()
        assert sorted(item.name for item in disk.iterdir()) == ["take.mkv"]


NASTY = {
    "prores422hq_timecode.mov": ("01:00:00:03", "01:00:00:08", 3, 5), "vfr_irregular_gap.mp4": ("f6", "f15", 5, 10),
    "rotated_display_matrix_90.mp4": ("0.25", "0.75", 5, 10), "hevc_main10_bt2020_pq.mp4": ("f3", "f9", 2, 7),
    "odd_321x239_vp9_420.webm": ("f3", "f9", 2, 7), "ts_start_one_hour.ts": ("0.25", "0.75", 5, 10),
    "interlaced_tff_pal_anamorphic.mpg": ("f4", "f8", 3, 5), "corrupt_bitstream.mp4": ("", "f9", 0, 9),
    "truncated_midstream_faststart.mp4": ("f3", "f9", 2, 7), "two_audio_tracks.mp4": ("f3", "f9", 2, 7),
}  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_peculiar_footage_keeps_what_it_has(media: Path, tmp_path: Path, name: str) -> None:
    """Times, depth, colour tags, shape of the pixels, timecode and every sound track."""
    from_, to, first, count = NASTY[name]
    path = Path(shutil.copy(media / "nasty" / name, tmp_path))
    path.chmod(0o644)
    was = probe(path)
    result = cut_video(path, CutOptions.of(from_=from_, to=to, lossless=True, preset="ultrafast"))
    made = probe(result.outputs[0])
    assert (made.frames, made.start, made.sar, made.bit_depth) == (count, 0, was.sar, was.bit_depth)
    silent = ColourTags("tv")  # what no tag means, and what some codecs say by themselves
    assert made.tags.or_else(silent) == was.tags.or_else(silent)
    assert [track.language for track in made.audio] == [track.language for track in was.audio]
    assert made.timecode == ("01:00:00:03" if was.timecode else None)
    assert_part(path, result.outputs[0], first, count)


@pytest.mark.parametrize("name", ["zero_byte.mp4", "text_named_as_video.mp4", "truncated_no_moov.mp4"])
def test_what_is_no_video_is_refused(media: Path, tmp_path: Path, name: str) -> None:
    path = Path(shutil.copy(media / "nasty" / name, tmp_path))
    with pytest.raises(UnreadableMedia):
        cut_video(path)
    assert [item.name for item in tmp_path.iterdir() if item.is_file()] == [name]


def test_a_copy_that_would_lose_something_is_refused(media: Path, tmp_path: Path) -> None:
    """WebM takes the shape of pixels from nowhere when packets are copied: found out by looking at the copy."""
    path = Path(shutil.copy(media / "clips" / "film_ship_man_800x332.webm", tmp_path))
    with pytest.raises(EncodingFailed, match="shape of the pixels"):
        cut_video(path, CutOptions.of(copy_="only"))
    assert not list(tmp_path.glob("*_cut*"))
    encoded = cut_video(path, CutOptions.of(to="f3", copy_="if-possible", preset="ultrafast"))
    assert probe(encoded.outputs[0]).sar == probe(path).sar


def test_folders_are_no_video(tmp_path: Path) -> None:
    with pytest.raises(UnderstudyError):
        cut_video(tmp_path)


def test_the_last_frame_is_held_to_the_end(tmp_path: Path) -> None:
    """Where times vary it lasts until the frame after the part, as its sound does."""
    path = tmp_path / "slow.mkv"
    write_clip(path, [0, 1, 2, 12, 13], time_base=Fraction(1, 20))
    made = cut_video(path, CutOptions.of(to="f3")).outputs[0]
    assert float(probe(made).duration or 0) == pytest.approx(12 / 20, abs=0.002)


def test_a_part_between_two_frames(clip: Path) -> None:
    for copy in ("no", "only"):
        with pytest.raises(UsageError, match="No frame begins"):
            cut_video(clip, CutOptions.of(from_="0.01", to="0.02", copy_=copy))


@pytest.mark.parametrize("to", ["f41", "00:00:09"])
def test_a_part_that_the_footage_does_not_fill(clip: Path, to: str) -> None:
    result = cut_video(clip, CutOptions.of(from_="f39", to=to))
    assert result.frames == 2
    assert result.notes["messages"] == ["the footage ends before --to"]


def test_errors_name_the_flag_that_was_typed() -> None:
    for values in ({"from_": "end"}, {"from_": "nan"}):
        with pytest.raises(InvalidOption, match=r"^from: "):
            CutOptions.of(**values)


def test_names_that_cannot_be_written(clip: Path) -> None:
    """A folder of the cut's name is never replaced, and a name may be too long only with what we add to it."""
    clip.with_name("take_cut.mkv").mkdir()
    with pytest.raises(UsageError, match="folder"):
        cut_video(clip, CutOptions.of(to="f3", replace=True))
    for length in (240, 250):
        long = clip.rename(clip.with_name("x" * length + ".mkv"))
        with pytest.raises(UsageError, match="too long"):
            cut_video(long, CutOptions.of(to="f3"))
        clip = long


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGHUP there")
@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGINT])
def test_a_closed_terminal_leaves_nothing_half_written(clip: Path, how: signal.Signals) -> None:
    """Exit code 130, one JSON object, no file."""
    code = f"""
import signal, sys
from understudy.cli.main import main
from understudy.media.writing import VideoWriter
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as a terminal starts it, whatever started the tests
signal.signal(signal.SIGINT, signal.default_int_handler)
def closing(self, frame):
    signal.raise_signal({int(how)})
VideoWriter.write = closing
sys.exit(main(["--json", "video", "cut", {str(clip)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130, done.stderr
    assert json.loads(done.stdout)["error"]["message"] == "Stopped; nothing was written."
    assert [path.name for path in clip.parent.iterdir() if path.is_file()] == [clip.name]


def test_a_cut_goes_where_it_is_wanted_and_never_over_its_source(clip: Path, tmp_path: Path) -> None:
    wanted = tmp_path / "shot" / "data_dst.mkv"
    made = cut_video(clip, CutOptions.of(from_="f3", to="f6", lossless=True, output=str(wanted)))
    assert made.outputs == [wanted]
    assert_part(clip, wanted, 2, 4)
    before = clip.read_bytes()
    with pytest.raises(UsageError, match="over the video itself"):
        cut_video(clip, CutOptions.of(to="f3", output=str(clip), replace=True))
    with pytest.raises(UsageError, match="no kind of video"):
        cut_video(clip, CutOptions.of(to="f3", output=str(tmp_path / "take.txt")))
    assert clip.read_bytes() == before
