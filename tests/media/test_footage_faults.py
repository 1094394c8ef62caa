"""Every nasty file through every command of footage: done, or refused with a hint; nothing half done is left."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from understudy.errors import UnderstudyError
from understudy.media import CutOptions, DenoiseOptions, FramesOptions
from understudy.records import Side
from understudy.stages.cut_video import cut_video
from understudy.stages.denoise import denoise, undo_denoise
from understudy.stages.extract_frames import extract_frames
from understudy.stages.result import StageResult
from understudy.stages.shots import find_shots
from understudy.workspace import Workspace

ROOT = Path(os.environ.get("UNDERSTUDY_MEDIA", Path(__file__).resolve().parents[3] / "shared" / "media")) / "nasty"
FILES = sorted(path.name for path in ROOT.iterdir() if path.is_file()) if ROOT.is_dir() else ["no-footage"]
VIDEOS = [name for name in FILES if Path(name).suffix in (".mp4", ".mov", ".mpg", ".ts", ".webm")]


@pytest.fixture(autouse=True)
def _home(media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "home"))


def ends(step: Callable[[], StageResult]) -> StageResult | UnderstudyError:
    """What a step gave, or how it refused."""
    try:
        return step()
    except UnderstudyError as error:
        return error


def is_clear(ending: StageResult | UnderstudyError) -> bool:
    return bool(ending.hint if isinstance(ending, UnderstudyError) else ending.frames)


def left_over(root: Path) -> list[str]:
    return [path.name for path in root.rglob(".tmp-*")]


@pytest.mark.parametrize("name", VIDEOS or ["no-footage"])
def test_a_video_through_everything(tmp_path: Path, name: str) -> None:
    """Frames, shots, denoising and back, and a cut: each ends well or says what to do."""
    made = Workspace.create(tmp_path / "shot")
    video = made.root / f"data_dst{Path(name).suffix}"
    shutil.copyfile(ROOT / name, video)
    original = video.read_bytes()
    steps = [
        lambda: extract_frames(made, Side.DST, FramesOptions()),
        lambda: find_shots(made, Side.DST),
        lambda: denoise(made, Side.DST, DenoiseOptions.of(factor=3)),
        lambda: undo_denoise(made, Side.DST),
        lambda: cut_video(video, CutOptions.of(from_="", to="f5", preset="ultrafast")),
    ]
    for step in steps:
        assert is_clear(ends(step))
    assert video.read_bytes() == original
    assert left_over(made.root) == []


@pytest.mark.parametrize("name", [name for name in FILES if name not in VIDEOS] or ["no-footage"])
def test_a_picture_as_a_frame(tmp_path: Path, name: str) -> None:
    """As the one frame of a folder, under its own name: cleaned, or left as it is and named, or refused."""
    if name.startswith("huge"):
        pytest.skip("covered by its size alone: seconds per step")
    made = Workspace.create(tmp_path / "shot")
    frame = made.dst.frames / name
    shutil.copyfile(ROOT / name, frame)
    original = frame.read_bytes()
    assert is_clear(ends(lambda: find_shots(made, Side.DST)))
    cleaned = ends(lambda: denoise(made, Side.DST))
    assert isinstance(cleaned, StageResult) or cleaned.hint
    back = ends(lambda: undo_denoise(made, Side.DST))
    assert isinstance(back, StageResult) or back.hint
    assert frame.read_bytes() == original
    assert left_over(made.root) == []


def test_an_exr_sequence_with_a_gap(tmp_path: Path) -> None:
    """Numbers are kept, the gap is named, and cleaning does not reach over it."""
    made = Workspace.create(tmp_path / "shot")
    for path in sorted((ROOT / "exr_sequence_with_gap").iterdir()):
        shutil.copyfile(path, made.dst.frames / path.name)
    shots = find_shots(made, Side.DST)
    assert [item.item for item in shots.skipped] == ["plate.1003.exr"]
    result = denoise(made, Side.DST)
    assert result.frames == 4
    names = [path.name for path in made.dst.frame_files()]
    assert names == [f"plate.{number}.exr" for number in (1001, 1002, 1004, 1005)]
    assert undo_denoise(made, Side.DST).frames == 4
