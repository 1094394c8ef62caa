"""review, realign, trash and coverage as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import understudy

from small_faces import workspace_with_faces
from understudy.cli.review import coverage_text, realign_text, review_text, trash_text
from understudy.stages.review import review
from understudy.stages.trash import trash
from understudy.workspace import Workspace


@pytest.fixture
def faces(tmp_path: Path) -> Workspace:
    return workspace_with_faces(tmp_path / "shot", count=4)


def test_trash_and_undo_from_a_terminal(faces: Workspace) -> None:
    before = sorted(path.name for path in faces.src.aligned.iterdir())
    done = understudy("-w", faces.root, "--json", "faceset", "trash", "src", "--where", "frame=1..2")
    assert done.code == 0
    assert done.body["moved"] == 2
    assert sorted(path.name for path in faces.src.aligned.iterdir()) == before[2:]
    assert understudy("-w", faces.root, "faceset", "undo", "src").code == 0
    assert sorted(path.name for path in faces.src.aligned.iterdir()) == before


def test_a_wrong_condition_is_wrong_usage_and_names_the_fields(faces: Workspace) -> None:
    done = understudy("-w", faces.root, "--json", "faceset", "trash", "src", "--where", "colour=red")
    assert done.code == 2
    assert "confidence" in done.body["error"]["hint"]
    assert understudy("-w", faces.root, "faceset", "trash", "src").code == 2
    assert not faces.src.aligned_trash.exists()


def test_realign_takes_rectangles_that_begin_with_a_minus(faces: Workspace, tmp_path: Path) -> None:
    """A face at the edge of the frame: the rectangle reaches out of it."""
    from shots import small_shot

    small_shot(frames=2).write_frames(faces.dst.frames)
    done = understudy(
        "-w", faces.root, "--json", "faceset", "realign", "dst", "1", "--rect", "-20,-20,200,200", "--face", "3"
    )
    assert done.code == 0, done.err
    assert done.body["written"] == ["00001_3.jpg"]
    bad = understudy("-w", faces.root, "faceset", "realign", "dst", "1", "--rect", "1,2,3")
    assert bad.code == 2
    assert "4 numbers" in bad.err


def test_what_commands_say_of_their_results(faces: Workspace) -> None:
    (faces.src.aligned / "00002_0.jpg").unlink()
    body = review(faces, "src", sheet=0).as_json()  # type: ignore[arg-type]
    assert f"{body['doubtful']} worth a look" in review_text(json.loads(json.dumps(body)), side="src", most=5)
    dry = trash(faces, "src", "index=0", dry_run=True).as_json()  # type: ignore[arg-type]
    assert "3 of 3 faces (index=0) would move to aligned_trash." in trash_text(dry)
    many = {"outputs": [], "written": [], "replaced": [], "skipped": [], "searched": 9, "found": 2, "open": ["00004"]}
    assert "1 still need a person: 00004" in realign_text(many)
    covered = {"covered": 3, "thin": 1, "at_risk": 0, "missing": [], "risk": [], "skipped": [], "outputs": []}
    assert "3 covered (75%)" in coverage_text(covered)


def test_a_faceset_is_reviewed_from_a_terminal(faces: Workspace) -> None:
    done = understudy("-w", faces.root, "--json", "faceset", "review", "src", "--sheet", "4")
    assert done.code == 0
    assert Path(done.body["outputs"][0]).is_file()
