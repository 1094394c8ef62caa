"""Shots of a workspace: kept, keyed to the footage, listed and drawn."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from understudy.errors import Interrupted
from understudy.imaging.files import encode_png, read_image
from understudy.media import EncodeOptions, FootageInfo, Frame, FramesOptions, VideoWriter
from understudy.records import FootageFrom, Side
from understudy.stages.extract_frames import extract_frames
from understudy.stages.shots import Shots, find_shots, read_shots, shots_path
from understudy.workspace import Workspace


def still(seed: int) -> np.ndarray:
    draw = np.random.default_rng(seed)
    coarse = draw.uniform(0, 255, (9, 16, 3)).astype(np.uint8)
    return cv2.resize(coarse, (160, 90), interpolation=cv2.INTER_LINEAR)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A dst of three shots: 8, 5 and 7 frames at 10 frames/s."""
    made = Workspace.create(tmp_path / "shot")
    with VideoWriter(made.root / "data_dst.mp4", FootageInfo.plain(160, 90, 10), options=EncodeOptions()) as video:
        for index in range(20):
            pixels = still(1 if index < 8 else 2 if index < 13 else 3)
            video.write(Frame.from_rgb(pixels, index=index, pts=index, time_base=Fraction(1, 10)))
    return made


def test_shots_are_found_kept_and_drawn(workspace: Workspace) -> None:
    result = find_shots(workspace, Side.DST)
    rows = result.notes["shots"]
    assert [(row["first"], row["last"], row["from"]) for row in rows] == [
        (0, 7, "00:00:00.000"), (8, 12, "00:00:00.800"), (13, 19, "00:00:01.300")
    ]  # fmt: skip
    with workspace.footage(Side.DST) as footage:
        shots = read_shots(workspace, Side.DST, footage)
    assert shots == Shots((0, 8, 13), 20)
    assert [shots.shot_of(index) for index in (0, 7, 8, 12, 13, 19)] == [0, 0, 1, 1, 2, 2]
    assert shots.ranges() == [range(8), range(8, 13), range(13, 20)]
    assert read_image(result.outputs[0]).rgb.shape[1] > 3 * 160
    again = find_shots(workspace, Side.DST)
    assert (again.notes, again.rate) == (result.notes, None)


def test_shots_of_other_footage_are_not_used(workspace: Workspace) -> None:
    """Another video, frames at another rate, frames taken away: nothing is known of them."""
    find_shots(workspace, Side.DST)
    extract_frames(workspace, Side.DST, FramesOptions.of(fps=5))
    with workspace.footage(Side.DST) as frames, workspace.footage(Side.DST, FootageFrom.VIDEO) as video:
        assert read_shots(workspace, Side.DST, frames) is None
        assert read_shots(workspace, Side.DST, video) is not None
    assert [row["first"] for row in find_shots(workspace, Side.DST).notes["shots"]] == [0, 4, 7]
    (workspace.dst.frames / "00010.png").unlink()
    with workspace.footage(Side.DST) as frames:
        assert read_shots(workspace, Side.DST, frames) is None


def test_a_gap_keeps_the_numbers(workspace: Workspace) -> None:
    for number in (1, 2, 3, 7, 8, 9):
        (workspace.dst.frames / f"{number:05d}.png").write_bytes(encode_png(still(1 if number < 8 else 2)))
    rows = find_shots(workspace, Side.DST).notes["shots"]
    assert [(row["first"], row["first_frame"]) for row in rows] == [(0, "00001"), (7, "00008")]


def test_a_damaged_record_counts_as_none(workspace: Workspace) -> None:
    find_shots(workspace, Side.DST)
    path = shots_path(workspace, Side.DST)
    good = path.read_text()
    for text in ("", "{}", "[]", good.replace("[", "[["), good.replace("8,", "21,"), good.replace("8,", '"x",')):
        path.write_text(text)
        with workspace.footage(Side.DST) as footage:
            assert read_shots(workspace, Side.DST, footage) is None


def test_stopping_keeps_nothing(workspace: Workspace) -> None:
    with pytest.raises(Interrupted):
        find_shots(workspace, Side.DST, stop=lambda: True)
    assert not shots_path(workspace, Side.DST).exists()
