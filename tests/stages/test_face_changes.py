"""What every stage that writes faces does first: tidy up after killed processes, and after those alone."""

from __future__ import annotations

from pathlib import Path

from small_faces import workspace_with_faces
from understudy.files import TEMP_PREFIX
from understudy.records import Side
from understudy.stages.face_changes import writing_faces


def test_unfinished_writes_of_killed_processes_are_swept(tmp_path: Path) -> None:
    """The reference program would take them for faces, since their names end as faces' do."""
    workspace = workspace_with_faces(tmp_path / "shot", count=2)
    person = workspace.src.aligned / "anna"
    person.mkdir()
    kept = {".my own.jpg", ".tmp-mine.jpg", "00001_0.jpg", "00002_0.jpg"}
    for folder in (workspace.src.aligned, person):
        for name in (f"{TEMP_PREFIX}0a1b2c3d-00001_0.jpg", ".my own.jpg", ".tmp-mine.jpg"):
            (folder / name).write_bytes(b"half a face")
    with writing_faces(workspace, Side.SRC):
        assert {path.name for path in workspace.src.aligned.iterdir() if path.is_file()} == kept
        assert {path.name for path in person.iterdir()} == {".my own.jpg", ".tmp-mine.jpg"}
