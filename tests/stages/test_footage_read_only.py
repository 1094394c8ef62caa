"""Footage in folders that must not be written to: a clear error that names the folder, and nothing moved."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from understudy.errors import ReadOnlyWorkspace
from understudy.imaging.files import encode_png
from understudy.media import CutOptions, EncodeOptions, FootageInfo, Frame, FramesOptions, VideoWriter
from understudy.records import Side
from understudy.stages.clear import clear, restore
from understudy.stages.cut_video import cut_video
from understudy.stages.denoise import denoise, undo_denoise
from understudy.stages.extract_frames import extract_frames
from understudy.stages.shots import find_shots
from understudy.workspace import Workspace
from users import ordinary_user

MKV = EncodeOptions.of(format="mkv")


@pytest.fixture(scope="module", autouse=True)
def _all_is_loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Do everything once: an ordinary user may not be able to import from where Python is installed."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("loaded")
        patch.setenv("UNDERSTUDY_HOME", str(folder / "home"))
        made = filled(folder)
        cut_video(video(made), CutOptions.of(to="f2"))
        denoise(made, Side.DST)
        undo_denoise(made, Side.DST)
        extract_frames(made, Side.DST, FramesOptions.of(replace=True))
        clear(made)
        restore(made)


@pytest.fixture
def workspace(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    with ordinary_user() as folder:
        monkeypatch.setenv("UNDERSTUDY_HOME", str(folder / "home"))
        yield filled(folder)


def filled(folder: Path) -> Workspace:
    made = Workspace.create(folder / "shot")
    pictures = [np.full((24, 32, 3), 40 * number, np.uint8) for number in range(1, 4)]
    with VideoWriter(made.root / "data_dst.mkv", FootageInfo.plain(32, 24, 25), options=MKV) as film:
        for number, picture in enumerate(pictures, start=1):
            film.write(Frame.from_rgb(picture))
            (made.dst.frames / f"{number:05d}.png").write_bytes(encode_png(picture))
    return made


def video(workspace: Workspace) -> Path:
    assert workspace.dst.video is not None
    return workspace.dst.video


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if "locks" not in path.parts)


def test_a_cut_beside_a_video_on_a_read_only_disk(workspace: Workspace) -> None:
    before = names(workspace.root)
    workspace.root.chmod(0o555)
    with pytest.raises(ReadOnlyWorkspace, match=r"data_dst_cut\.mkv") as refusal:
        cut_video(video(workspace), CutOptions.of(to="f2"))
    assert str(workspace.root) in refusal.value.hint
    assert names(workspace.root) == before


@pytest.mark.parametrize(
    "command",
    [
        lambda workspace: denoise(workspace, Side.DST),
        lambda workspace: extract_frames(workspace, Side.DST, FramesOptions.of(replace=True)),
        clear,
    ],
    ids=["denoise", "frames", "clear"],
)
def test_frames_that_may_only_be_read(workspace: Workspace, command: Callable[[Workspace], object]) -> None:
    """The hint names the folder of the frames, and no empty folder of the trash hides an older one."""
    find_shots(workspace, Side.DST)
    before = names(workspace.root)
    workspace.dst.frames.chmod(0o555)
    with pytest.raises(ReadOnlyWorkspace) as refusal:
        command(workspace)
    assert f"Make {workspace.dst.frames} writable" in refusal.value.hint
    assert names(workspace.root) == before


def test_denoising_that_cannot_be_undone_yet(workspace: Workspace) -> None:
    """Refused without a loss, and undone once the folder may be written to."""
    originals = {path.name: path.read_bytes() for path in workspace.dst.frame_files()}
    trash = Path(denoise(workspace, Side.DST).notes["trash"])
    trash.chmod(0o555)
    with pytest.raises(ReadOnlyWorkspace):
        undo_denoise(workspace, Side.DST)
    trash.chmod(0o755)
    assert undo_denoise(workspace, Side.DST).frames == 3
    assert {path.name: path.read_bytes() for path in workspace.dst.frame_files()} == originals
