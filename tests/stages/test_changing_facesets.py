"""A training that runs notices what happens to its facesets, and one that resumes does the same."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

from small_faces import face_files, small_model, workspace_with_faces
from understudy.errors import Interrupted, InvalidOption
from understudy.facesets import write_face
from understudy.records import Side
from understudy.report import Event, Metrics, Note, Progress
from understudy.stages.train import train
from understudy.training.commands import Commands
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.workspace import Workspace

PLAIN = {"precision": "fp32", "threads": 1, "preview_every": 0, "evaluate_every": 0, "hold_out": 0.0}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = workspace_with_faces(tmp_path / "one", 6)
    small_model(workspace)
    return workspace


def run(workspace: Workspace, until: int, at: dict[int, Callable[[], object]] | None = None) -> list[str]:
    """Train up to an iteration; `at`: something that happens when that iteration is done, and a save that is asked for
    then, which comes after the next. What was reported as notes."""
    commands, told, waiting = Commands(), [], dict(at or {})

    def report(event: Event) -> None:
        if isinstance(event, Note):
            told.append(event.message)
        if isinstance(event, Metrics) and event.iteration in waiting:
            waiting.pop(event.iteration)()
            commands.offer({"command": "save"})

    train(workspace, "small", TrainOptions.of(**PLAIN, target_iter=until), report=report, commands=commands)
    return told


def trash(workspace: Workspace) -> None:
    """One src face goes, one dst face gets a mask, one more src face comes."""
    src, dst = workspace.src.aligned, workspace.dst.aligned
    workspace.src.aligned_trash.mkdir(exist_ok=True)
    (src / "00002_0.jpg").rename(workspace.src.aligned_trash / "00002_0.jpg")
    name, jpeg, meta = face_files(Side.SRC, 7)[6]
    write_face(src / name, jpeg, meta)
    stat = (dst / "00001_0.jpg").stat()
    with (dst / "00001_0.jpg").open("ab") as handle:
        handle.write(b"\0")
    os.utime(dst / "00001_0.jpg", ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


def newest(workspace: Workspace) -> tuple[dict[str, list[float]], dict[str, list[int]]]:
    folder = CheckpointStore(workspace.model("small")).generations()[0]
    weights = {name: tensor.flatten().tolist() for name, tensor in load_file(folder / "weights.safetensors").items()}
    return weights, json.loads((folder / "state.json").read_text())["batches"]


def test_faces_that_come_change_or_go_are_noticed_at_a_save(workspace: Workspace) -> None:
    told = run(workspace, 6, {2: lambda: trash(workspace)})
    assert "src faces: 1 added, 1 removed, 6 by now." in told
    assert "dst faces: 1 changed, 6 by now." in told
    _, batches = newest(workspace)
    assert batches["since"][0] > 0  # src is dealt anew, dst is not
    assert batches["since"][1] == 0


def test_nothing_is_said_of_a_faceset_that_stays(workspace: Workspace) -> None:
    assert not any("faces:" in message for message in run(workspace, 5, {2: lambda: None}))


def test_a_run_that_resumes_goes_on_as_the_one_that_noticed(workspace: Workspace, tmp_path: Path) -> None:
    run(workspace, 12, {2: lambda: trash(workspace)})
    saved = [int(generation.name) for generation in CheckpointStore(workspace.model("small")).generations()]
    assert saved == [12, 3, 1]
    other = Workspace.open(shutil.copytree(workspace.root, tmp_path / "two"))
    shutil.rmtree(other.model("small") / "checkpoints" / "000000012")
    run(other, 12)
    assert newest(other)[0] == newest(workspace)[0]


def test_a_faceset_that_is_emptied_is_warned_of_and_training_goes_on(workspace: Workspace) -> None:
    told = run(workspace, 6, {2: lambda: shutil.rmtree(workspace.src.aligned), 4: lambda: None})
    (warning,) = [message for message in told if "src faces have" in message]  # once, however many saves follow
    assert "aligned cannot be read" in warning
    assert "goes on" in warning
    assert str(workspace.root) not in warning


def test_what_comes_and_cannot_be_used_is_named(workspace: Workspace) -> None:
    def spoil() -> None:
        whole = (workspace.src.aligned / "00001_0.jpg").read_bytes()
        (workspace.src.aligned / "cut.jpg").write_bytes(whole[:700])
        (workspace.src.aligned / "empty.jpg").write_bytes(b"")
        (workspace.src.aligned / "short.jpg").write_bytes(whole[: len(whole) * 3 // 4])

    told = run(workspace, 6, {2: spoil, 4: lambda: None})
    (named,) = [message for message in told if "left out" in message]
    assert "cut.jpg: " in named
    assert "empty.jpg: " in named
    assert "short.jpg: The picture of this JPEG cannot be decoded." in named
    assert "(short.jpg)" not in named


def test_persons_are_chosen_by_name(tmp_path: Path) -> None:
    workspace = workspace_with_faces(tmp_path, 4)
    small_model(workspace)
    shutil.rmtree(workspace.src.aligned)
    for person, side in (("ann", Side.SRC), ("bob", Side.DST)):
        (workspace.src.aligned / person).mkdir(parents=True)
        for name, jpeg, meta in face_files(side, 4):
            write_face(workspace.src.aligned / person / name, jpeg, meta)
    both = train(workspace, "small", TrainOptions.of(**PLAIN, target_iter=1, persons_equally=True))
    one = train(workspace, "small", TrainOptions(target_iter=2, persons=("bob",)))
    assert (both.faces, one.faces) == (12, 8)
    with pytest.raises(InvalidOption, match="nobody called 'eve'") as error:
        train(workspace, "small", TrainOptions(persons=("eve",)))
    assert "ann, bob" in error.value.hint


def test_a_training_that_starts_again_decodes_nothing(workspace: Workspace) -> None:
    with pytest.raises(Interrupted):
        train(workspace, "small", TrainOptions.of(**PLAIN), stop=lambda: _made(workspace))
    events: list[Event] = []
    train(workspace, "small", TrainOptions(target_iter=2), report=events.append)
    assert not [
        event for event in events if isinstance(event, Progress) and event.step == "Loading faces" and event.done
    ]


def _made(workspace: Workspace) -> bool:
    """Whether the model was saved once."""
    return bool(CheckpointStore(workspace.model("small")).generations())
