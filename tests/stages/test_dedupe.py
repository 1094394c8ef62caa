"""Duplicates of a faceset on disk: the sharpest stays, hand work stays, and everything comes back."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from small_faces import face_files
from understudy.curation.person_options import DedupeOptions
from understudy.errors import Busy, EmptyFaceset, Interrupted, ReadOnlyWorkspace, UsageError
from understudy.facesets import Polygon, decode_jpeg, encode_jpeg, write_face
from understudy.facesets.changes import recover
from understudy.records import Side
from understudy.stages.dedupe import dedupe
from understudy.stages.pack import pack
from understudy.stages.undo import undo
from understudy.workspace import Workspace
from users import ordinary_user


def workspace_with_held_frames(root: Path) -> Workspace:
    """src: two faces that differ, a softer copy of each, and a copy of the first encoded again."""
    workspace = Workspace.create(root)
    for index, (_, jpeg, meta) in enumerate(face_files(Side.SRC, 12)[::8]):
        picture = decode_jpeg(jpeg)
        soft = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.45), np.uint8)
        write_face(workspace.src.aligned / f"{index}_sharp.jpg", jpeg, meta)
        write_face(workspace.src.aligned / f"{index}_soft.jpg", encode_jpeg(soft, 95), meta)
    write_face(
        workspace.src.aligned / "0_again.jpg", encode_jpeg(soft_copy_of(workspace), 92), face_files(Side.SRC, 12)[0][2]
    )
    return workspace


def soft_copy_of(workspace: Workspace) -> np.ndarray:
    return decode_jpeg((workspace.src.aligned / "0_soft.jpg").read_bytes())


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_with_held_frames(tmp_path / "shot")


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))


EVERY = ["0_again.jpg", "0_sharp.jpg", "0_soft.jpg", "1_sharp.jpg", "1_soft.jpg"]
OPTIONS = DedupeOptions(threshold=14)  # at 64 px the blur of the copies is seen


def test_the_sharpest_of_each_stays_and_undo_brings_the_others_back(workspace: Workspace) -> None:
    before = {name: (workspace.src.aligned / name).read_bytes() for name in EVERY}
    result = dedupe(workspace, Side.SRC, OPTIONS).as_json()
    assert names(workspace.src.aligned) == ["0_sharp.jpg", "1_sharp.jpg"]
    assert names(workspace.src.aligned_trash) == ["0_again.jpg", "0_soft.jpg", "1_soft.jpg"]
    assert result["duplicates"] == 3
    assert {group["kept"]: group["dropped"] for group in result["groups"]} == {
        "0_sharp.jpg": ["0_again.jpg", "0_soft.jpg"],
        "1_sharp.jpg": ["1_soft.jpg"],
    }
    undo(workspace, Side.SRC)
    assert {name: (workspace.src.aligned / name).read_bytes() for name in EVERY} == before


def test_a_dry_run_only_says_which(workspace: Workspace) -> None:
    result = dedupe(workspace, Side.SRC, OPTIONS.but(dry_run=True)).as_json()
    assert result["duplicates"] == 3
    assert "undo" not in result
    assert names(workspace.src.aligned) == EVERY


def test_a_second_run_finds_nothing(workspace: Workspace) -> None:
    dedupe(workspace, Side.SRC, OPTIONS)
    assert dedupe(workspace, Side.SRC, OPTIONS).as_json()["duplicates"] == 0


def test_a_face_with_outlines_stays_before_a_sharper_one(workspace: Workspace) -> None:
    path = workspace.src.aligned / "0_soft.jpg"
    outline = Polygon(np.array([(5, 5), (50, 5), (30, 50)], np.float32))
    write_face(path, path.read_bytes(), face_files(Side.SRC, 12)[0][2].but(polygons=(outline,)))
    dedupe(workspace, Side.SRC, OPTIONS)
    assert names(workspace.src.aligned) == ["0_soft.jpg", "1_sharp.jpg"]


def test_people_in_folders_keep_their_folders(workspace: Workspace) -> None:
    for name in EVERY:
        path = workspace.src.aligned / name
        folder = workspace.src.aligned / f"person {name[0]}"
        folder.mkdir(exist_ok=True)
        path.rename(folder / name)
    dedupe(workspace, Side.SRC, OPTIONS)
    assert names(workspace.src.aligned) == ["person 0/0_sharp.jpg", "person 1/1_sharp.jpg"]
    undo(workspace, Side.SRC)
    assert len(names(workspace.src.aligned)) == 5


def test_packed_faces_can_only_be_looked_at(workspace: Workspace) -> None:
    pack(workspace, Side.SRC)
    with pytest.raises(UsageError, match="packed"):
        dedupe(workspace, Side.SRC, OPTIONS)
    assert dedupe(workspace, Side.SRC, OPTIONS.but(dry_run=True)).as_json()["duplicates"] == 3


def test_faces_that_cannot_be_read_are_named_and_stay(workspace: Workspace) -> None:
    (workspace.src.aligned / "2_text.jpg").write_bytes(b"no picture")
    result = dedupe(workspace, Side.SRC, OPTIONS)
    assert (workspace.src.aligned / "2_text.jpg").exists()
    assert result.faces == 5


def test_no_faces_say_so(tmp_path: Path) -> None:
    with pytest.raises(EmptyFaceset):
        dedupe(Workspace.create(tmp_path / "empty"), Side.SRC)


def test_a_second_writer_is_refused(workspace: Workspace) -> None:
    with workspace.writing("aligned-src"), pytest.raises(Busy):
        dedupe(workspace, Side.SRC)


def test_stopped_before_the_end_moves_nothing(workspace: Workspace) -> None:
    calls = iter(range(100))
    dedupe(workspace, Side.SRC, OPTIONS.but(dry_run=True))  # the catalog knows the faces from here on
    with pytest.raises(Interrupted):
        dedupe(workspace, Side.SRC, OPTIONS, stop=lambda: next(calls) > 2)
    assert names(workspace.src.aligned) == EVERY


def test_a_read_only_folder_is_told() -> None:
    with ordinary_user() as folder:
        workspace = workspace_with_held_frames(folder / "shot")
        workspace.src.aligned.chmod(0o555)
        with pytest.raises(ReadOnlyWorkspace):
            dedupe(workspace, Side.SRC, OPTIONS)
        workspace.src.aligned.chmod(0o755)
        recover(workspace.changes(Side.SRC))
        assert names(workspace.src.aligned) == EVERY
