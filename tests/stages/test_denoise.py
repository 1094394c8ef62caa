"""Denoising changes the frames as one step, or not at all; nothing is lost on the way, and it can be taken back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from disks import fill, small_disk
from made_faces import make_jpeg, make_meta
from understudy.errors import DiskFull, Interrupted, InvalidOption, MissingFootage, NoFrames, UsageError
from understudy.facesets.faces import write_face
from understudy.imaging.files import encode_jpg, encode_png, read_image, write_exr
from understudy.media import DenoiseOptions, EncodeOptions, FootageInfo, Frame, FramesOptions, VideoWriter
from understudy.media.denoise import Denoiser
from understudy.records import Side
from understudy.stages import denoise as stage
from understudy.stages.clear import clear
from understudy.stages.denoise import denoise, undo_denoise
from understudy.stages.denoise_state import denoised_with
from understudy.stages.extract_frames import extract_frames
from understudy.workspace import Workspace

SIZE = (120, 80)


def clean_picture(seed: int = 1) -> np.ndarray:
    draw = np.random.default_rng(seed)
    coarse = draw.uniform(30, 220, (9, 14, 3)).astype(np.float32)
    soft = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
    soft[20:50, 30:70] = draw.uniform(30, 220, 3)  # an edge
    return np.clip(soft, 0, 255)


def noisy(clean: np.ndarray, seed: int, sigma: float = 6) -> np.ndarray:
    grain = np.random.default_rng(seed).normal(0, sigma, clean.shape)
    return np.clip(np.rint(clean + grain), 0, 255).astype(np.uint8)


def error(picture: np.ndarray, clean: np.ndarray) -> float:
    return float(np.sqrt(np.mean((picture.astype(np.float64) - clean) ** 2)))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Twelve noisy frames of one scene and eight of another."""
    made = Workspace.create(tmp_path / "shot")
    for number in range(1, 21):
        frame = noisy(clean_picture(1 if number <= 12 else 2), number)
        (made.dst.frames / f"{number:05d}.png").write_bytes(encode_png(frame))
    return made


def frames_of(workspace: Workspace) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in workspace.dst.frame_files()}


def test_more_strength_takes_out_more() -> None:
    clean = clean_picture()
    out = {}
    for factor in (1, 4, 7, 20):
        filter_ = Denoiser(factor)
        for seed in range(12):
            out[factor] = filter_.clean(noisy(clean, seed))
    errors = {factor: error(picture, clean) for factor, picture in out.items()}
    assert 6 > errors[1] > errors[4] > errors[7]
    assert errors[7] < 4
    assert np.abs(out[20].astype(float) - clean).mean() < 3  # still the same picture


def test_edges_and_motion_stay() -> None:
    """A sharp edge is not washed out, and what moves leaves no trail."""
    filter_ = Denoiser(7)
    for step in range(6):
        frame = np.full((40, 80, 3), 60, np.uint8)
        frame[10:30, 10 * step : 10 * step + 10] = 200
        made = filter_.clean(frame)
        np.testing.assert_allclose(made.astype(int), frame, atol=1)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_every_depth_stays_what_it_is(kind: type) -> None:
    """A flat picture does not change by one value, nor do whites above 1 of float plates."""
    peak = 1.0 if kind is np.float32 else np.iinfo(kind).max
    for colour in ([0.2, 0.5, 0.9], [7, 8, 9] if kind is np.float32 else [1, 1, 1]):
        flat = (np.full((9, 9, 3), colour) * peak).astype(kind)
        made = Denoiser(20).clean(flat)
        assert made.dtype == kind
        np.testing.assert_allclose(made, flat, rtol=1e-5 if kind is np.float32 else 0)


def test_frames_are_cleaned_and_come_back(workspace: Workspace) -> None:
    before = frames_of(workspace)
    result = denoise(workspace, Side.DST)
    assert result.frames == 20
    assert denoised_with(workspace, Side.DST) == 7
    late = read_image(workspace.dst.frames / "00012.png").rgb
    assert error(late, clean_picture(1)) < 4
    sheet = read_image(result.outputs[1]).rgb
    assert sheet.shape[1] >= 3 * SIZE[0]
    assert undo_denoise(workspace, Side.DST).frames == 20
    assert frames_of(workspace) == before
    assert denoised_with(workspace, Side.DST) == 0
    with pytest.raises(UsageError, match="not denoised"):
        undo_denoise(workspace, Side.DST)


def test_a_cut_is_not_crossed(workspace: Workspace) -> None:
    """The first frame of a shot is cleaned as if nothing had been before it."""
    expected = Denoiser(7).clean(read_image(workspace.dst.frames / "00013.png").rgb)
    assert denoise(workspace, Side.DST).notes["shots"] == 2
    np.testing.assert_array_equal(read_image(workspace.dst.frames / "00013.png").rgb, expected)


def test_chunks_meet_unseen(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a long shot is taken in pieces the pictures are those of one run, to less than a level."""
    filter_ = Denoiser(7)
    whole = [filter_.clean(read_image(file).rgb) for file in workspace.dst.frame_files()[:12]]
    monkeypatch.setattr(stage, "CHUNK", 8)
    monkeypatch.setattr(stage, "SETTLE", 6)
    denoise(workspace, Side.DST)
    made = [read_image(file).rgb for file in workspace.dst.frame_files()[:12]]
    assert max(np.abs(a.astype(int) - b).mean() for a, b in zip(made, whole, strict=True)) < 0.5


def test_stopped_and_continued_gives_the_same(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace.create(tmp_path / "other")
    for file in workspace.dst.frame_files():
        (other.dst.frames / file.name).write_bytes(file.read_bytes())
    denoise(other, Side.DST, DenoiseOptions.of(workers=1))
    before, calls = frames_of(workspace), iter([False] * 3)
    with pytest.raises(Interrupted):
        denoise(workspace, Side.DST, stop=lambda: next(calls, True))
    assert frames_of(workspace) == before
    denoise(workspace, Side.DST)
    assert frames_of(workspace) == frames_of(other)


@pytest.mark.parametrize("values", [{"factor": 0}, {"factor": 21}])
def test_strengths_that_do_not_exist(values: dict[str, int]) -> None:
    with pytest.raises(InvalidOption):
        DenoiseOptions.of(**values)


def test_what_cannot_be_cleaned_stays_and_is_named(workspace: Workspace) -> None:
    """A copy that is not used, and a picture that is cut off: written anew it would look whole."""
    frames = workspace.dst.frames
    (frames / "00003.jpg").write_bytes(encode_jpg(noisy(clean_picture(), 3)))
    (frames / "00005.png").unlink()
    cut_off = encode_jpg(noisy(clean_picture(), 5))[:-900]
    (frames / "00005.jpg").write_bytes(cut_off)
    skipped = {item.item: item.reason for item in denoise(workspace, Side.DST).skipped}
    assert skipped.keys() == {"00003.jpg", "00005.jpg"}
    assert "00003.png has the same name" in skipped["00003.jpg"]
    assert "cut off" in skipped["00005.jpg"]
    assert (frames / "00005.jpg").read_bytes() == cut_off


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    """There is nothing to clean then, and nothing to undo."""
    made = Workspace.create(tmp_path / "shot")
    (made.dst.frames / "00001.jpg").write_bytes(encode_jpg(noisy(clean_picture(), 1))[:-900])
    with pytest.raises(NoFrames, match="None of the 1 frames"):
        denoise(made, Side.DST)
    with pytest.raises(UsageError, match="not denoised"):
        undo_denoise(made, Side.DST)


def test_twice_is_refused_and_other_frames_are_not_undone(workspace: Workspace) -> None:
    denoise(workspace, Side.DST)
    with pytest.raises(UsageError, match="factor 7") as refusal:
        denoise(workspace, Side.DST, DenoiseOptions.of(factor=9))
    assert "--undo" in refusal.value.hint
    (workspace.dst.frames / "00001.png").unlink()
    with pytest.raises(UsageError, match="not those"):
        undo_denoise(workspace, Side.DST)


def test_frames_of_every_kind(tmp_path: Path) -> None:
    """16 bit stays 16 bit, JPEG stays JPEG, EXR keeps its light; a broken frame stays and is named."""
    made = Workspace.create(tmp_path / "shot")
    deep = noisy(clean_picture(), 1).astype(np.uint16) * 257
    (made.dst.frames / "00001.png").write_bytes(encode_png(deep))
    (made.dst.frames / "00002.jpg").write_bytes(encode_jpg(noisy(clean_picture(), 2)))
    write_exr(made.dst.frames / "00003.exr", np.full((8, 8, 3), 3.0, np.float32))
    (made.dst.frames / "00004.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    result = denoise(made, Side.DST)
    assert (result.frames, [item.item for item in result.skipped]) == (3, ["00004.png"])
    assert read_image(made.dst.frames / "00001.png").rgb.dtype == np.uint16
    assert read_image(made.dst.frames / "00002.jpg").kind == "jpeg"
    assert read_image(made.dst.frames / "00003.exr").rgb.max() == 3
    assert (made.dst.frames / "00004.png").read_bytes().endswith(b"broken")
    assert undo_denoise(made, Side.DST).frames == 3


def test_what_must_not_be_denoised(workspace: Workspace, tmp_path: Path) -> None:
    """No frames, aligned faces, and kinds that would become something else."""
    with pytest.raises(MissingFootage):
        denoise(workspace, Side.SRC)
    (workspace.src.frames / "00001.tif").write_bytes(b"II*\0")
    with pytest.raises(UsageError, match=r"00001\.tif"):
        denoise(workspace, Side.SRC)
    (workspace.src.frames / "00001.tif").unlink()
    write_face(workspace.src.frames / "00001.jpg", make_jpeg(), make_meta())
    with pytest.raises(UsageError, match="aligned face"):
        denoise(workspace, Side.SRC)


def test_frames_that_are_denoised_are_not_mixed_with_new_ones(workspace: Workspace) -> None:
    like = FootageInfo.plain(*SIZE, 25)
    with VideoWriter(workspace.root / "data_dst.mkv", like, options=EncodeOptions.of(format="mkv")) as video:
        for index, file in enumerate(workspace.dst.frame_files()):
            video.write(Frame.from_rgb(read_image(file).rgb, index=index, pts=index, time_base=Fraction(1, 25)))
    for file in workspace.dst.frame_files():
        file.unlink()
    extract_frames(workspace, Side.DST, FramesOptions())
    denoise(workspace, Side.DST)
    (workspace.dst.frames / "00005.png").unlink()
    with pytest.raises(UsageError, match="denoised"):
        extract_frames(workspace, Side.DST, FramesOptions())
    assert extract_frames(workspace, Side.DST, FramesOptions.of(replace=True)).frames == 20
    assert denoised_with(workspace, Side.DST) == 0
    assert denoise(workspace, Side.DST).frames == 20
    clear(workspace)
    extract_frames(workspace, Side.DST, FramesOptions())
    assert denoised_with(workspace, Side.DST) == 0


DYING = """
import os, pathlib, signal
from understudy.facesets import change_run
from understudy.media import denoise as m
from understudy.records import Side
from understudy.stages.clear import clear
from understudy.stages.denoise import denoise
from understudy.workspace import Workspace

left, real = [7], {call}

def dying(*given):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return real(*given)

{call} = dying
denoise(Workspace.open(pathlib.Path({root!r})), Side.DST)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
@pytest.mark.parametrize("during", ["filtering", "exchanging"])
def test_a_killed_run_loses_nothing(workspace: Workspace, during: str) -> None:
    """Killed while it cleans or while it renames: the frames are all there, before or after, and it goes on."""
    before = frames_of(workspace)
    dying = "m.Denoiser.clean" if during == "filtering" else "change_run._rename"
    code = DYING.format(call=dying, root=str(workspace.root))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env={**os.environ}, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    denoise(workspace, Side.DST)
    assert denoised_with(workspace, Side.DST) == 7
    undo_denoise(workspace, Side.DST)
    assert frames_of(workspace) == before


def test_a_full_disk_loses_nothing(workspace: Workspace) -> None:
    with small_disk(mib=2) as disk:
        made = Workspace.create(disk / "shot")
        for file in workspace.dst.frame_files():
            (made.dst.frames / file.name).write_bytes(file.read_bytes())
        before = frames_of(made)
        ballast = fill(disk)
        with pytest.raises(DiskFull):
            denoise(made, Side.DST)
        assert frames_of(made) == before
        ballast.unlink()
        assert denoise(made, Side.DST).frames == 20
