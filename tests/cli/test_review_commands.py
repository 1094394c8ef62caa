"""review, realign, trash and coverage as a person types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from terminal import understudy

from small_faces import workspace_with_faces
from understudy.cli.review import coverage_text, realign_text, review_text, trash_text
from understudy.records import Side
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


@pytest.mark.parametrize("place", ["review", "persons", "coverage"])
def test_sheets_are_opened_or_their_command_is_named(faces: Workspace, place: str) -> None:
    missing = understudy("-w", faces.root, "--json", "open", place, "src")
    assert missing.code == 2
    assert f"understudy faceset {place} src" in missing.body["error"]["hint"]
    name = "src-against-dst" if place == "coverage" else "src"
    sheet = faces.private / place / f"{name}.png"
    sheet.parent.mkdir(parents=True, exist_ok=True)
    sheet.write_bytes(b"x")
    assert understudy("-w", faces.root, "--json", "open", place, "src").body["outputs"] == [str(sheet)]


def test_a_condition_that_nothing_meets_says_so_once(faces: Workspace) -> None:
    body = trash(faces, Side.SRC, "index>7").as_json()
    assert trash_text(body) == "None of the 4 faces meets index>7; all stay."


def test_the_review_says_what_can_be_done_about_its_first_row(faces: Workspace) -> None:
    row = {"score": 0.9, "from": "00002", "to": "00002", "items": 1, "frame": "00002", "reasons": ["Unsure."]}
    body = {"frames": 3, "faces": 3, "doubtful": 1, "counts": {"unsure": 1}, "accepted": 0, "outputs": []}
    ways = review_text({**body, "worst": [{**row, "file": "00002_0.jpg"}]}, side="src", most=5).splitlines()[-3:]
    assert [line.partition(":")[2].split()[1:3] for line in ways] == [
        ["faceset", "realign"], ["faceset", "trash"], ["faceset", "review"],
    ]  # fmt: skip
    assert 'trash src --where "name=00002_0.jpg"' in ways[1]
    missing = review_text({**body, "counts": {"missing": 1}, "worst": [{**row, "file": None}]}, side="src", most=5)
    assert "realign src --all-missing" in missing
    assert "trash" not in missing
