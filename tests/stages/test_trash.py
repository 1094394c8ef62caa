"""Taking faces out by what is known of them, and getting them back."""

from __future__ import annotations

from pathlib import Path

import pytest

from made_faces import make_jpeg, make_meta
from understudy.errors import Busy, EmptyFaceset, Interrupted, UsageError
from understudy.facesets import write_face
from understudy.facesets.changes import undo_last
from understudy.records import Side
from understudy.stages.review import write_review
from understudy.stages.review_list import read_review
from understudy.stages.trash import trash
from understudy.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Four frames with two faces each."""
    made = Workspace.create(tmp_path / "shot")
    for frame in range(4):
        for number in range(2):
            meta = make_meta(frame).but(confidence=0.9 - 0.6 * number)
            write_face(made.dst.aligned / f"{frame + 1:05d}_{number}.jpg", make_jpeg(frame), meta)
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_chosen_faces_move_to_the_trash_and_come_back_as_they_were(workspace: Workspace) -> None:
    before = {path.name: path.read_bytes() for path in workspace.dst.aligned.iterdir()}
    result = trash(workspace, Side.DST, "index>0")
    assert (result.faces, result.notes["moved"], result.notes["staying"]) == (4, 4, 4)
    assert names(workspace.dst.aligned) == [f"{number:05d}_0.jpg" for number in range(1, 5)]
    assert names(workspace.dst.aligned_trash) == [f"{number:05d}_1.jpg" for number in range(1, 5)]
    undo_last(workspace.changes(Side.DST))
    assert {path.name: path.read_bytes() for path in workspace.dst.aligned.iterdir()} == before


def test_a_dry_run_moves_nothing_and_names_all(workspace: Workspace) -> None:
    result = trash(workspace, Side.DST, ["frame=2..3", "confidence<0.6"], dry_run=True)
    assert result.notes["names"] == ["00002_1.jpg", "00003_1.jpg"]
    assert "moved" not in result.notes
    assert len(names(workspace.dst.aligned)) == 8
    assert not workspace.dst.aligned_trash.exists()


def test_faces_that_do_not_know_a_field_stay_and_are_counted(workspace: Workspace) -> None:
    write_face(workspace.dst.aligned / "00009_0.jpg", make_jpeg(9), make_meta(8))
    result = trash(workspace, Side.DST, "confidence<0.6")
    assert result.notes["unknown"] == {"confidence": 1}
    assert "00009_0.jpg" in names(workspace.dst.aligned)


@pytest.mark.parametrize("where", [[], "", ["", " "], ","])
def test_no_condition_is_refused_rather_than_taken_for_all(workspace: Workspace, where: str | list[str]) -> None:
    with pytest.raises(UsageError):
        trash(workspace, Side.DST, where)
    assert len(names(workspace.dst.aligned)) == 8


def test_nothing_that_matches_is_no_error(workspace: Workspace) -> None:
    result = trash(workspace, Side.DST, "track=7")
    assert (result.faces, result.outputs) == (0, [])


def test_a_name_that_is_taken_in_the_trash_is_not_overwritten(workspace: Workspace) -> None:
    trash(workspace, Side.DST, "frame=1,index=0")
    first = (workspace.dst.aligned_trash / "00001_0.jpg").read_bytes()
    write_face(workspace.dst.aligned / "00001_0.jpg", make_jpeg(77), make_meta(0))
    trash(workspace, Side.DST, "frame=1,index=0")
    assert (workspace.dst.aligned_trash / "00001_0.jpg").read_bytes() == first
    assert len(names(workspace.dst.aligned_trash)) == 2


def test_stopping_leaves_every_face_in_its_place(workspace: Workspace) -> None:
    with pytest.raises(Interrupted):
        trash(workspace, Side.DST, "index>0", stop=lambda: True)
    assert len(names(workspace.dst.aligned)) == 8


def test_an_empty_faceset_and_a_second_writer_are_said(workspace: Workspace) -> None:
    with pytest.raises(EmptyFaceset):
        trash(workspace, Side.SRC, "index>0")
    with workspace.writing("aligned-dst"), pytest.raises(Busy):
        trash(workspace, Side.DST, "index>0")


def test_the_review_forgets_faces_that_went(workspace: Workspace) -> None:
    write_review(workspace, Side.DST)
    trash(workspace, Side.DST, "index>0")
    found = read_review(workspace, Side.DST)
    assert found is not None
    assert not [item for item in found.items if item.file and item.file.endswith("_1.jpg")]
