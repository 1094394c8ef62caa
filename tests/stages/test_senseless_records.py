"""Our own files beside the faces, spoiled: what they told is asked anew or refused in a sentence, never a traceback."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from small_faces import workspace_with_faces
from understudy.curation.person_options import PersonsAction
from understudy.errors import UnderstudyError
from understudy.facesets.options import ResizeOptions
from understudy.records import Side
from understudy.stages.persons import persons
from understudy.stages.resize import resize
from understudy.stages.review import review
from understudy.stages.status import status
from understudy.stages.trash import trash
from understudy.workspace import Workspace

RECORDS = (
    "persons/src.json",
    "persons/src.pending.json",
    "review/src.json",
    "extract/src.jsonl",
    "shots/src.json",
    "resize/src.json",
)  # fmt: skip
STAGES: dict[str, Callable[[Workspace], object]] = {
    "persons": lambda workspace: persons(workspace, Side.SRC, PersonsAction.LIST),
    "resize": lambda workspace: resize(workspace, Side.SRC, ResizeOptions.of(image_size=128)),
    "review": lambda workspace: review(workspace, Side.SRC),
    "trash": lambda workspace: trash(workspace, Side.SRC, "index=0"),
    "status": status,
}


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 50_000, b"null", b"{}\n[]\n", b"\xff\xfe"], ids=range(5)
)
def test_spoiled_records_of_ours(tmp_path: Path, content: bytes) -> None:
    workspace = workspace_with_faces(tmp_path / "shot", count=2)
    for stage in STAGES.values():
        for name in RECORDS:
            (workspace.private / name).parent.mkdir(parents=True, exist_ok=True)
            (workspace.private / name).write_bytes(content)
        with contextlib.suppress(UnderstudyError):
            stage(workspace)
    kept = [*workspace.src.aligned.glob("*.jpg"), *workspace.src.aligned_trash.glob("*.jpg")]
    assert len(kept) == 2


@pytest.mark.parametrize("suffix", [".jsonl", ".placing", ".back-aside"])
def test_a_spoiled_record_of_a_change_moves_nothing(tmp_path: Path, suffix: str) -> None:
    workspace = workspace_with_faces(tmp_path / "shot", count=2)
    record = workspace.changes(Side.SRC) / f"20260101-120000-000000{suffix}"
    record.parent.mkdir(parents=True)
    record.write_bytes(b"[" * 100_000)
    for stage in STAGES.values():
        with contextlib.suppress(UnderstudyError):
            stage(workspace)
    assert len(list(workspace.src.frames.glob("aligned*/*_0.jpg"))) >= 2
    assert record.exists()
