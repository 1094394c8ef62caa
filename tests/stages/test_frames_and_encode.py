"""Frames out of a video and a video out of merged frames: resumable, exact, and nothing lost on the way."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from disks import fill, small_disk
from shots import small_shot
from understudy.compositing.options import MergeOptions
from understudy.detection.options import ExtractOptions
from understudy.errors import DiskFull, Interrupted, MissingFootage, MissingModel, NoFrames, UsageError
from understudy.imaging.files import encode_jpg, encode_png, read_image
from understudy.media import EncodeOptions, FootageInfo, Frame, FramesOptions, VideoWriter, open_footage
from understudy.records import Side
from understudy.report import Event, Note
from understudy.stages.encode import encode
from understudy.stages.extract import extract
from understudy.stages.extract_frames import extract_frames
from understudy.stages.merge import merge
from understudy.workspace import Workspace

LOSSLESS = EncodeOptions.of(lossless=True, preset="ultrafast")


def make_video(path: Path, times: list[Fraction] | None = None, size: tuple[int, int] = (96, 64)) -> None:
    """A lossless clip of noise; without times 30 frames at 25 frames/s."""
    stamps = times or [Fraction(index, 25) for index in range(30)]
    base = Fraction(1, 90000)
    like = FootageInfo.plain(*size, 25)
    like = FootageInfo(**{**vars(like), "time_base": base})
    with VideoWriter(path, like, options=LOSSLESS) as video:
        for index, stamp in enumerate(stamps):
            pixels = np.random.default_rng(index).integers(40, 200, (size[1] // 8, size[0] // 8, 3)).astype(np.uint8)
            pixels = pixels.repeat(8, axis=0).repeat(8, axis=1)
            video.write(Frame.from_rgb(pixels, index=index, pts=int(stamp / base), time_base=base))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = Workspace.create(tmp_path / "shot")
    make_video(made.root / "data_dst.mp4")
    return made


def merge_by_hand(workspace: Workspace, *, leave_out: tuple[int, ...] = (), with_mask: bool = True) -> np.ndarray:
    """Merged pictures of every dst frame with a painted square, and the mask of it."""
    alpha = np.zeros((64, 96), np.uint8)
    alpha[11:40, 21:50] = 255
    workspace.merged.mkdir(exist_ok=True)
    workspace.merged_mask.mkdir(exist_ok=True)
    with workspace.footage(Side.DST) as footage:
        for frame in footage.frames():
            if frame.index in leave_out:
                continue
            pixels = frame.rgb8.copy()
            pixels[alpha > 0] = (200, 90, 70)
            name = f"{Path(frame.name).stem}.png"
            (workspace.merged / name).write_bytes(encode_png(pixels))
            if with_mask:
                (workspace.merged_mask / name).write_bytes(encode_png(alpha))
    return alpha


def pairs(workspace: Workspace, result: str = "result.mp4") -> list[tuple[Frame, Frame]]:
    with open_footage(workspace.root / "data_dst.mp4") as old, open_footage(workspace.root / result) as new:
        return list(zip(old.frames(), new.frames(), strict=True))


def test_every_frame_becomes_a_numbered_file(workspace: Workspace) -> None:
    """00001.png is the first frame; the pictures are those that are read from the video."""
    result = extract_frames(workspace, Side.DST, FramesOptions())
    names = [path.name for path in workspace.dst.frame_files()]
    assert names == [f"{number:05d}.png" for number in range(1, 31)]
    assert result.frames == 30
    assert result.outputs == [workspace.dst.frames]
    with open_footage(workspace.root / "data_dst.mp4") as footage:
        for frame in footage.frames():
            np.testing.assert_array_equal(read_image(workspace.dst.frames / frame.name).rgb, frame.rgb8)


def test_a_lower_rate_takes_frames_by_their_own_time(tmp_path: Path) -> None:
    """Irregular footage: one frame for each fifth of a second that has one, none twice, numbered without gaps."""
    made = Workspace.create(tmp_path)
    times = [Fraction(tick, 100) for tick in (0, 10, 15, 20, 35, 41, 130, 131, 139, 140)]
    make_video(made.root / "data_src.mp4", times)
    extract_frames(made, Side.SRC, FramesOptions(fps=5))
    assert [path.name for path in made.src.frame_files()] == [f"{number:05d}.png" for number in range(1, 6)]
    record = json.loads((made.private / "frames" / "src.json").read_text())
    kept = [Fraction(stamp) * Fraction(record["time_base"]) for stamp in record["times"]]
    assert kept == [Fraction(tick, 100) for tick in (0, 20, 41, 130, 140)]


def test_stopping_and_running_again_completes_the_set(workspace: Workspace) -> None:
    """What is there stays; only what is missing, or cut off by others, is written."""
    calls = iter([False] * 12 + [True] * 100)
    with pytest.raises(Interrupted):
        extract_frames(workspace, Side.DST, FramesOptions(), stop=lambda: next(calls))
    done = {path: path.stat().st_mtime_ns for path in workspace.dst.frame_files()}
    assert 0 < len(done) < 30
    broken = workspace.dst.frames / "00002.png"
    whole = broken.read_bytes()
    broken.write_bytes(whole[:100])
    extract_frames(workspace, Side.DST, FramesOptions())
    assert len(workspace.dst.frame_files()) == 30
    assert broken.read_bytes() == whole
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in done.items() if path != broken)


def test_other_settings_are_refused_until_replacing_is_asked_for(workspace: Workspace) -> None:
    """Two sets of frames in one folder would be one broken set; the old one is moved, not deleted."""
    extract_frames(workspace, Side.DST, FramesOptions(fps=5))
    for other in (FramesOptions(), FramesOptions(fps=5, format="jpg"), FramesOptions(fps=5, square_pixels=True)):
        with pytest.raises(UsageError, match="already holds 6 frames") as refusal:
            extract_frames(workspace, Side.DST, other)
        assert "--replace" in refusal.value.hint
    extract_frames(workspace, Side.DST, FramesOptions(format="jpg", replace=True))
    assert len(workspace.dst.frame_files()) == 30
    assert len(list((workspace.private / "trash").rglob("*.png"))) == 6


def test_frames_of_unknown_origin_are_refused(workspace: Workspace) -> None:
    """A folder filled by another program is not touched."""
    workspace.dst.frames.mkdir(exist_ok=True)
    mine = workspace.dst.frames / "00001.png"
    mine.write_bytes(encode_png(np.zeros((4, 4, 3), np.uint8)))
    with pytest.raises(UsageError, match="nobody knows"):
        extract_frames(workspace, Side.DST, FramesOptions())
    assert mine.exists()
    with pytest.raises(MissingFootage):
        extract_frames(workspace, Side.SRC, FramesOptions())


@pytest.mark.parametrize("with_mask", [True, False])
def test_untouched_pixels_are_the_planes_of_dst(workspace: Workspace, with_mask: bool) -> None:
    """Result and dst differ only under the face, frame by frame at the same times; the mask is delivered exactly."""
    alpha = merge_by_hand(workspace, with_mask=with_mask)
    result = encode(workspace, LOSSLESS)
    assert result.frames == 30
    for old, new in pairs(workspace):
        assert new.time == old.time
        luma_old, luma_new = old.planes()[0], new.planes()[0]
        np.testing.assert_array_equal(luma_old[alpha == 0], luma_new[alpha == 0])
        assert np.abs(new.rgb8[15:36, 25:46] - np.array((200, 90, 70))).max() <= 3
    if with_mask:
        with open_footage(workspace.root / "result_mask.mp4") as masks:
            for frame in masks.frames():
                np.testing.assert_array_equal(frame.planes()[0], alpha)


def test_a_merge_that_changed_nothing_gives_dst_back(workspace: Workspace) -> None:
    """Plane for plane."""
    extract_frames(workspace, Side.DST, FramesOptions())
    workspace.merged.mkdir()
    for path in workspace.dst.frame_files():
        (workspace.merged / path.name).write_bytes(path.read_bytes())
    encode(workspace, LOSSLESS)
    for old, new in pairs(workspace):
        for one, other in zip(old.planes(), new.planes(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_jpeg_frames_do_not_reach_the_result(workspace: Workspace) -> None:
    """Frames were extracted as JPEG: outside the mask the result still has the planes of the video."""
    extract_frames(workspace, Side.DST, FramesOptions(format="jpg", quality=60))
    alpha = merge_by_hand(workspace)
    encode(workspace, LOSSLESS)
    for old, new in pairs(workspace):
        np.testing.assert_array_equal(old.planes()[0][alpha == 0], new.planes()[0][alpha == 0])


def test_frames_that_were_not_merged_stay_original_and_are_named(workspace: Workspace) -> None:
    """A missing, a broken and a wrongly sized picture: the result has every frame and names the three."""
    merge_by_hand(workspace, leave_out=(3,))
    (workspace.merged / "00006.png").write_bytes(b"broken")
    (workspace.merged / "00008.png").write_bytes(encode_png(np.zeros((10, 10, 3), np.uint8)))
    result = encode(workspace, LOSSLESS)
    assert [item.item for item in result.skipped] == ["00004.png", "00006.png", "00008.png"]
    original = [
        old.index for old, new in pairs(workspace) if np.array_equal(old.planes()[0], new.planes()[0])
    ]  # fmt: skip
    assert original == [3, 5, 7]


def test_a_result_of_fewer_frames_keeps_their_true_times(tmp_path: Path) -> None:
    """Extracted at 5 frames/s from irregular footage, merged, encoded: the kept frames at their own times."""
    made = Workspace.create(tmp_path)
    times = [Fraction(tick, 100) for tick in (0, 10, 15, 20, 35, 41, 130, 131, 139, 140)]
    make_video(made.root / "data_dst.mp4", times)
    extract_frames(made, Side.DST, FramesOptions(fps=5))
    merge_by_hand(made)
    assert encode(made, LOSSLESS).frames == 5
    with open_footage(made.root / "result.mp4") as result:
        assert [frame.time for frame in result.frames()] == [Fraction(tick, 100) for tick in (0, 20, 41, 130, 140)]


def test_faces_and_frames_must_be_numbered_alike(tmp_path: Path) -> None:
    """Faces cut from every second frame would be laid over the wrong frames of the video, without a word."""
    made = Workspace.create(tmp_path / "shot")
    small_shot(frames=8).write_video(made.root / "data_dst.mp4")
    extract_frames(made, Side.DST, FramesOptions.of(fps=12))
    extract(made, Side.DST)
    with pytest.raises(UsageError, match="numbers"):
        merge(made, "hello", MergeOptions.of(from_="video"))
    with pytest.raises(MissingModel):
        merge(made, "hello")
    extract_frames(made, Side.DST, FramesOptions.of(replace=True))
    for spoiled in (lambda: extract(made, Side.DST), lambda: merge(made, "hello")):
        with pytest.raises(UsageError) as refusal:
            spoiled()
        assert "--replace" in refusal.value.hint
    extract(made, Side.DST, ExtractOptions.of(replace=True))
    for footage in ("video", "frames"):
        with pytest.raises(MissingModel):
            merge(made, "hello", MergeOptions.of(from_=footage))


def test_a_folder_of_pictures_becomes_a_video(tmp_path: Path) -> None:
    """No video at all: 25 frames/s, or what the user asks for."""
    made = Workspace.create(tmp_path)
    for number in range(1, 8):
        pixels = np.full((64, 96, 3), 20 * number, np.uint8)
        (made.dst.frames / f"{number:05d}.jpg").write_bytes(encode_jpg(pixels))
    merge_by_hand(made)
    for fps, rate in ((0, Fraction(25)), (12.5, Fraction(25, 2))):
        encode(made, EncodeOptions.of(fps=fps, preset="ultrafast"))
        with open_footage(made.root / "result.mp4") as result:
            assert [frame.time for frame in result.frames()] == [index / rate for index in range(7)]


def test_foreign_frames_are_shown_at_the_rate_of_the_video(workspace: Workspace) -> None:
    """Another program extracted fewer frames and left no record: a constant rate, and a warning."""
    for number in range(1, 11):
        pixels = np.full((64, 96, 3), 20 * number, np.uint8)
        (workspace.dst.frames / f"{number:05d}.png").write_bytes(encode_png(pixels))
    merge_by_hand(workspace)
    events: list[Event] = []
    assert encode(workspace, LOSSLESS.but(format="mkv"), report=events.append).frames == 10
    assert any(isinstance(event, Note) and "constant" in event.message for event in events)


def test_a_video_in_place_of_the_one_that_the_frames_were_taken_from(workspace: Workspace) -> None:
    """Same name, other content: the merged frames are shown, at a constant rate, and not those of the new video."""
    extract_frames(workspace, Side.DST, FramesOptions())
    merge_by_hand(workspace)
    count = len(workspace.dst.frame_files())
    make_video(workspace.root / "data_dst.mp4", times=[Fraction(n, 25) for n in range(count + 5)])
    events: list[Event] = []
    assert encode(workspace, LOSSLESS.but(format="mkv"), report=events.append).frames == count
    assert any(isinstance(event, Note) and "constant" in event.message for event in events)


def test_what_a_killed_process_left_is_swept_away(workspace: Workspace) -> None:
    """Half a result can be many gigabytes; a file that is not ours stays."""
    left = [workspace.dst.frames / ".tmp-0123abcd-00001.png", workspace.root / ".tmp-0123abcd-result.mp4"]
    foreign = workspace.root / ".tmp-0123abcd-data_dst.mp4"
    for path in (*left, foreign):
        path.write_bytes(b"half")
    extract_frames(workspace, Side.DST, FramesOptions())
    assert not left[0].exists()
    merge_by_hand(workspace)
    encode(workspace, LOSSLESS)
    assert not left[1].exists()
    assert foreign.exists()


def test_encoding_needs_merged_frames_and_can_be_stopped(workspace: Workspace) -> None:
    """Nothing merged: said so. Stopped: the old result stands and nothing lies about."""
    with pytest.raises(NoFrames) as refusal:
        encode(workspace)
    assert "merge" in refusal.value.hint
    merge_by_hand(workspace)
    (workspace.root / "result.mp4").write_bytes(b"old")
    with pytest.raises(Interrupted):
        encode(workspace, stop=lambda: True)
    assert (workspace.root / "result.mp4").read_bytes() == b"old"
    assert not [path for path in workspace.root.iterdir() if path.name.startswith(".tmp")]


def test_a_full_disk_loses_nothing(workspace: Workspace) -> None:
    """Frames written before stay and the run goes on when there is room; the old result stands."""
    with small_disk(mib=1) as disk:
        made = Workspace.create(disk / "shot")
        (made.root / "data_dst.mp4").write_bytes((workspace.root / "data_dst.mp4").read_bytes())
        (made.root / "result.mkv").write_bytes(b"old")
        ballast = fill(disk)
        with pytest.raises(DiskFull) as refusal:
            extract_frames(made, Side.DST, FramesOptions())
        assert "room" in refusal.value.hint
        ballast.unlink()
        assert extract_frames(made, Side.DST, FramesOptions()).frames == 30
        made.merged.mkdir()
        (made.merged / "00001.png").write_bytes((made.dst.frames / "00001.png").read_bytes())
        fill(disk)
        with pytest.raises(DiskFull):
            encode(made, EncodeOptions.of(lossless=True, format="mkv"))
        assert (made.root / "result.mkv").read_bytes() == b"old"
        assert not list(made.root.rglob(".tmp-*"))


def test_sound_goes_along(media: Path, tmp_path: Path) -> None:
    """Real footage with sound that starts late: the very packets, at the very times."""
    made = Workspace.create(tmp_path)
    listed = json.loads((media / "manifest.json").read_text(encoding="utf-8"))["files"]
    late = next(item for item in listed if item["kind"] == "video" and item["audio"] and item["accept"] == ["ok"]
                and item["audio"][0]["start_time_s"] > 0.1 and item["start_time_s"] == 0)  # fmt: skip
    made.root.joinpath("data_dst.mp4").write_bytes((media / late["path"]).read_bytes())
    made.merged.mkdir()
    with made.footage(Side.DST) as footage:
        frame = next(footage.frames())
    (made.merged / "00001.png").write_bytes(encode_png(frame.rgb8))
    encode(made, EncodeOptions.of(preset="ultrafast"))
    packets = []
    for name in ("data_dst.mp4", "result.mp4"):
        with av.open(str(made.root / name)) as container:
            sound = container.demux(container.streams.audio[0])
            packets.append([(packet.pts * packet.time_base, bytes(packet)) for packet in sound if packet.size])
    assert packets[0] == packets[1]
