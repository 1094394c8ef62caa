"""Coverage of real face files: measured once, kept, and told as a table, JSON and a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from small_faces import workspace_with_faces
from understudy.errors import EmptyFaceset, Interrupted, UsageError
from understudy.facesets import reading
from understudy.records import Side
from understudy.report import Event, Progress
from understudy.stages.coverage import coverage
from understudy.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_with_faces(tmp_path / "shot", count=6)


def measured(events: list[Event]) -> int:
    """How many faces were opened and measured."""
    totals = {event.step: event.total or 0 for event in events if isinstance(event, Progress)}
    return sum(total for step, total in totals.items() if step.startswith("Measuring"))


def test_both_facesets_are_compared_and_the_result_written(workspace: Workspace) -> None:
    result = coverage(workspace)
    assert result.faces == 12
    stored = json.loads(result.outputs[0].read_text())
    assert stored["schema"] == "understudy-coverage/1"
    assert stored["covered"] + stored["thin"] + stored["at_risk"] == 6
    assert np.sum(stored["pose"]["src"]) == 6
    assert {"frame", "file", "gap", "lack", "reason", "nearest"} == set(stored["risk"][0])
    assert set(stored["frames_at_risk"]) <= {f"{number:05d}" for number in range(1, 7)}
    with Image.open(result.outputs[1]) as picture:
        assert picture.width == 1750


def test_a_faceset_covers_its_own_copy(workspace: Workspace) -> None:
    for path in workspace.dst.aligned.iterdir():
        path.unlink()
    for path in workspace.src.aligned.iterdir():
        for copy in range(4):  # three alike are needed to cover one
            (workspace.src.aligned / f"{path.stem}_{copy}.jpg").write_bytes(path.read_bytes())
        (workspace.dst.aligned / path.name).write_bytes(path.read_bytes())
    assert coverage(workspace, picture=False).notes["covered"] == 6


def test_what_was_measured_is_not_measured_again_whatever_it_is_called_by_then(workspace: Workspace) -> None:
    events: list[Event] = []
    first = coverage(workspace, picture=False, report=events.append)
    assert measured(events) == 12
    for place, path in enumerate(sorted(workspace.src.aligned.iterdir())):
        path.rename(path.with_name(f"sorted_{place:05d}.jpg"))
    events.clear()
    again = coverage(workspace, picture=False, report=events.append)
    assert measured(events) == 0
    assert again.notes["covered"] == first.notes["covered"]


def test_a_changed_face_is_measured_again_and_damaged_measures_are_made_anew(workspace: Workspace) -> None:
    coverage(workspace, picture=False)
    source, target = (workspace.src.aligned / f"0000{number}_0.jpg" for number in (1, 2))
    target.write_bytes(source.read_bytes())
    events: list[Event] = []
    coverage(workspace, picture=False, report=events.append)
    assert measured(events) == 1
    kept = workspace.private / "measures" / "src.npz"
    kept.write_bytes(kept.read_bytes()[:100])
    events.clear()
    coverage(workspace, picture=False, report=events.append)
    assert measured(events) == 6


def test_stopping_keeps_what_was_measured(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "AHEAD_PER_WORKER", 1)
    seen: list[Event] = []

    def stop() -> bool:
        return measured_so_far(seen) >= 3

    with pytest.raises(Interrupted):
        coverage(workspace, workers=1, report=seen.append, stop=stop)
    events: list[Event] = []
    coverage(workspace, picture=False, report=events.append)
    assert 0 < measured(events) < 12


def measured_so_far(events: list[Event]) -> int:
    return max((event.done for event in events if isinstance(event, Progress) and "Measuring" in event.step), default=0)


def test_faces_that_cannot_be_opened_are_named(workspace: Workspace) -> None:
    path = workspace.src.aligned / "00003_0.jpg"
    data = bytearray(path.read_bytes())
    scan = data.rindex(b"\xff\xda")
    path.write_bytes(bytes(data[: scan + 1]) + b"\x00" * 40)
    result = coverage(workspace, picture=False)
    assert [item.item for item in result.skipped] == ["00003_0.jpg"]
    assert result.faces == 11


def test_an_empty_side_and_a_side_against_itself_are_refused(workspace: Workspace) -> None:
    with pytest.raises(UsageError):
        coverage(workspace, Side.DST, Side.DST)
    for path in workspace.dst.aligned.iterdir():
        path.unlink()
    with pytest.raises(EmptyFaceset):
        coverage(workspace)
