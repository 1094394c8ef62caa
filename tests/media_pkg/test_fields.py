"""Interlaced footage is recognised by what it shows, and becomes whole pictures at the right times."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from understudy.errors import UsageError
from understudy.media import EncodeOptions, FootageInfo, Frame, FramesOptions, VideoWriter, open_footage, probe
from understudy.media.fields import Scan, scan_of, whole_pictures
from understudy.records import FootageFrom, Side
from understudy.report import Event, Note
from understudy.stages.extract_frames import extract_frames
from understudy.workspace import Workspace

HEIGHT, WIDTH = 96, 160


def moment(at: int) -> np.ndarray:
    """(H, W) uint8: soft shapes that move 3 px to the right from one field to the next."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(float)
    levels = 110 + 60 * np.sin((columns - 3 * at) / 9 + rows / 25) + 30 * np.cos((columns - 3 * at) / 4)
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def frames(scan: Scan, count: int = 12) -> list[np.ndarray]:
    made = []
    for index in range(count):
        first, second = moment(2 * index), moment(2 * index + (scan is not Scan.PROGRESSIVE))
        frame = first.copy()
        frame[(1 if scan is Scan.TFF else 0) :: 2] = second[(1 if scan is Scan.TFF else 0) :: 2]
        made.append(frame)
    return made


@pytest.mark.parametrize("scan", list(Scan))
def test_the_scan_is_seen(scan: Scan) -> None:
    assert scan_of(frames(scan)) is scan
    assert scan_of([luma.astype(np.uint16) * 257 for luma in frames(scan)]) is scan


def test_stills_and_noise_tell_nothing_wrong() -> None:
    assert scan_of([moment(0)] * 12) is None
    draw = np.random.default_rng(0)
    grain = [np.clip(moment(0) + draw.normal(0, 8, (HEIGHT, WIDTH)), 0, 255).astype(np.uint8) for _ in range(12)]
    assert scan_of(grain) in (None, Scan.PROGRESSIVE)


def as_frames(pictures: list[np.ndarray]) -> list[Frame]:
    base = Fraction(1, 25)
    return [Frame.from_luma(luma, index=i, pts=i, time_base=base, duration=1) for i, luma in enumerate(pictures)]


@pytest.mark.parametrize("order", [Scan.TFF, Scan.BFF])
def test_whole_pictures_show_one_moment(order: Scan) -> None:
    """One of each frame shows its first field's moment; one of each field its own, half a frame later."""
    made = list(whole_pictures(as_frames(frames(order)), order, per_field=False))
    assert [(frame.index, frame.pts) for frame in made] == [(i, i) for i in range(12)]
    fields = list(whole_pictures(as_frames(frames(order)), order, per_field=True))
    assert [frame.index for frame in fields] == list(range(24))
    assert [frame.time for frame in fields] == [Fraction(i, 50) for i in range(24)]
    for at, frame in list(enumerate(fields))[4:20]:
        seen = frame.planes()[0][4:-4].astype(float)
        assert np.abs(seen - moment(at)[4:-4]).mean() < 1.5
        assert np.abs(seen - moment(at + 1)[4:-4]).mean() > 8


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An interlaced src and dst that do not say that they are."""
    made = Workspace.create(tmp_path / "shot")
    tff = as_frames(frames(Scan.TFF))
    for name in ("data_src.mkv", "data_dst.mkv"):
        options = EncodeOptions.of(format="mkv", lossless=True)
        with VideoWriter(made.root / name, FootageInfo.plain(WIDTH, HEIGHT, 25), options=options) as video:
            for frame in tff:
                video.write(frame)
    return made


def test_frames_are_deinterlaced_when_asked(workspace: Workspace) -> None:
    info = probe(workspace.root / "data_dst.mkv")
    assert (info.interlaced, info.scan) == (False, "tff")
    assert any("does not say so" in problem for problem in info.problems)
    assert extract_frames(workspace, Side.DST, FramesOptions.of(deinterlace="frame")).frames == 12
    with open_footage(workspace.dst.frames) as footage:
        assert scan_of(frame.rgb8[..., 1] for frame in footage.frames()) is Scan.PROGRESSIVE
    with pytest.raises(UsageError, match="--deinterlace frame"):
        extract_frames(workspace, Side.DST, FramesOptions())
    assert extract_frames(workspace, Side.SRC, FramesOptions.of(deinterlace="field")).frames == 24


def test_fields_of_dst_are_refused(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="twice as many"):
        extract_frames(workspace, Side.DST, FramesOptions.of(deinterlace="field"))
    assert not workspace.dst.frame_files()


def test_whole_footage_is_said_to_be_whole(workspace: Workspace) -> None:
    options = EncodeOptions.of(format="mkv")
    with VideoWriter(workspace.root / "data_src.mkv", FootageInfo.plain(WIDTH, HEIGHT, 25), options=options) as video:
        for frame in as_frames(frames(Scan.PROGRESSIVE)):
            video.write(frame)
    events: list[Event] = []
    extract_frames(workspace, Side.SRC, FramesOptions.of(deinterlace="frame"), report=events.append)
    assert any(isinstance(event, Note) and "does not look interlaced" in event.message for event in events)


def test_real_interlaced_footage(media: Path, tmp_path: Path) -> None:
    """PAL with the top field first: seen as such, and not combed any more afterwards."""
    made = Workspace.create(tmp_path)
    (made.root / "data_src.mpg").write_bytes((media / "nasty" / "interlaced_tff_pal_anamorphic.mpg").read_bytes())
    assert probe(made.root / "data_src.mpg").scan == "tff"
    assert extract_frames(made, Side.SRC, FramesOptions.of(deinterlace="field")).frames == 100
    with made.footage(Side.SRC, FootageFrom.FRAMES) as footage:
        whole = scan_of(frame.rgb8[..., 1] for frame in footage.frames())
    assert whole is not Scan.TFF
