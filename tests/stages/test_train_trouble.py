"""What may happen around a training: its folder goes, its disk fills, clocks jump, the system wants it to end."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import disks
from small_faces import SMALL, small_model, workspace_with_faces
from understudy.errors import CorruptCheckpoint, DiskFull, MissingModel, OutOfMemory
from understudy.jobs import Job, Request, start, wait
from understudy.networks.amp import AmpConfig
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi, FaceType, PrecisionChoice
from understudy.report import Event, Metrics, Note
from understudy.stages.train import train
from understudy.training.commands import Commands
from understudy.training.learning.step import SwapLearner
from understudy.training.measuring.held_out import HeldOut
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.manifests import MANIFEST
from understudy.training.saved.models import is_model, read_record
from understudy.training.saved.new import create_model
from understudy.training.session import Session
from understudy.workspace import Workspace

FAST = TrainOptions(batch_size=2, precision=PrecisionChoice.FP32, threads=1, preview_every=0)
NUMBERS: dict[str, Any] = {
    "size": 32, "face_type": FaceType.WHOLE_FACE, "ae_dims": 8, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4,
}  # fmt: skip
WITH_GAN = {"gan_power": 0.1, "gan_dims": 8, "ema_decay": 0.9}
MODELS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "quick96": ("quick96", SMALL, {}),
    "saehd": ("saehd", SaehdConfig(archi=Archi.parse("liae-ud"), **NUMBERS), WITH_GAN),
    "amp": ("amp", AmpConfig(inter_dims=12, **NUMBERS), WITH_GAN),
}


def made(root: Path, kind: str = "quick96") -> tuple[Workspace, TrainOptions]:
    workspace = workspace_with_faces(root)
    model_class, config, more = MODELS[kind]
    create_model(workspace.model("small"), model_class, config=config)
    return workspace, FAST.but(**more)


def manifest(workspace: Workspace, iteration: int) -> dict[str, Any]:
    folder = workspace.model("small") / f"checkpoints/{iteration:09d}"
    found = json.loads((folder / MANIFEST).read_text())
    assert isinstance(found, dict)
    return found


def test_a_folder_that_is_deleted_while_it_trains_ends_training_and_is_not_made_again(tmp_path: Path) -> None:
    workspace, options = made(tmp_path)

    def delete(event: Event) -> None:
        if isinstance(event, Metrics) and event.iteration == 3:
            shutil.rmtree(workspace.model("small"))

    with pytest.raises(MissingModel, match="deleted or moved") as caught:
        train(workspace, "small", options, report=delete)
    assert caught.value.hint
    assert not workspace.model("small").exists()


@pytest.mark.parametrize("kind", MODELS)
def test_on_a_full_disk_the_last_state_stays_and_training_goes_on_as_if_there_had_been_room(
    tmp_path: Path, kind: str
) -> None:
    """Full while it trains, when nothing is left that a save could make room of: no older state, no cache."""
    with disks.small_disk(mib=48) as disk:
        workspace, options = made(disk / "shot", kind)
        ballast: list[Path] = []

        def fill_up(event: Event) -> None:
            if isinstance(event, Metrics) and event.iteration == 4 and not ballast:
                ballast.append(disks.fill(disk))

        train(workspace, "small", options.but(target_iter=3, keep_checkpoints=1))
        with pytest.raises(DiskFull):
            train(workspace, "small", TrainOptions(target_iter=5), report=fill_up)
        assert CheckpointStore(workspace.model("small")).newest_iteration() == 3
        ballast[0].unlink()
        train(workspace, "small", TrainOptions(target_iter=5))
        whole, same = made(tmp_path, kind)
        train(whole, "small", same.but(target_iter=5, keep_checkpoints=1))
        assert manifest(workspace, 5) == manifest(whole, 5)


def test_clocks_that_jump_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Back by a year, forth by ten, at every look: what is trained and saved does not ask what time it is."""
    steady, options = made(tmp_path / "steady")
    train(steady, "small", options.but(target_iter=4))
    jumping, _ = made(tmp_path / "jumping")
    jumps = itertools.cycle((-3e7, 3e8, 0.0))
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + next(jumps))
    train(jumping, "small", options.but(target_iter=2))
    train(jumping, "small", TrainOptions(target_iter=4))
    assert manifest(steady, 4) == manifest(jumping, 4)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="this system has no SIGHUP")
def test_a_closed_terminal_ends_nothing_and_a_shutdown_saves(tmp_path: Path) -> None:
    workspace, options = made(tmp_path)
    arguments = {"name": "small", "options": options.model_dump(mode="json")}
    request = Request("understudy.stages.train:train", workspace.root, "Training", arguments)
    job = start(workspace.private / "jobs", request)
    reach(workspace, job, 2)
    pid = job.pid
    assert pid is not None
    os.kill(pid, signal.SIGHUP)
    reach(workspace, job, lines(workspace) + 3)
    os.kill(pid, signal.SIGTERM)
    result = wait(job, 60)
    assert result is not None
    assert result.exit_code == 130
    assert CheckpointStore(workspace.model("small")).newest_iteration() == lines(workspace)


def lines(workspace: Workspace) -> int:
    history = workspace.model("small") / "history.jsonl"
    return history.read_bytes().count(b"\n") if history.is_file() else 0


def reach(workspace: Workspace, job: Job, iteration: int) -> None:
    until = time.monotonic() + 120
    while lines(workspace) < iteration:
        assert job.result is None, job.result
        assert time.monotonic() < until
        time.sleep(0.02)


def test_memory_that_runs_out_is_told_once_kept_in_the_record_and_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A whole batch is too much from the third iteration on; in two parts it fits."""
    workspace, options = made(tmp_path, "saehd")
    weigh = SwapLearner._weighed

    def greedy(self: SwapLearner, batch: Any, **more: Any) -> Any:
        if self.iteration >= 2 and len(batch.src.target) > 1:
            raise MemoryError
        return weigh(self, batch, **more)

    monkeypatch.setattr(SwapLearner, "_weighed", greedy)
    events: list[Event] = []
    train(workspace, "small", options.but(target_iter=4), report=events.append)
    told = [event.message for event in events if isinstance(event, Note) and "Memory ran out" in event.message]
    assert len(told) == 1
    assert "2 parts" in told[0]
    record = read_record(workspace.model("small"))
    assert [event["event"] for event in record.events if event["event"] == "memory"] == ["memory"]
    train(workspace, "small", TrainOptions(target_iter=5), report=events.append)
    assert len([event for event in events if isinstance(event, Note) and "Memory ran out" in event.message]) == 1


def test_memory_that_runs_out_beside_learning_costs_a_picture_or_an_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace, options = made(tmp_path)

    def full(*_: object, **__: object) -> Any:
        raise RuntimeError("could not create a primitive")

    monkeypatch.setattr(Session, "_sheets", full)
    monkeypatch.setattr(HeldOut, "measure", full)
    told: list[Event] = []
    more = {"preview_every": 1, "evaluate_every": 1, "hold_out": 0.4, "target_iter": 2}
    assert train(workspace, "small", options.but(**more), report=told.append).notes["iteration"] == 2
    said = [event.message for event in told if isinstance(event, Note) and "training goes on without" in event.message]
    assert {"these pictures", "this evaluation"} <= {sentence.split("without ")[1].split(" (")[0] for sentence in said}
    monkeypatch.setattr("understudy.stages.train.open_session", full)
    with pytest.raises(OutOfMemory, match="could not create a primitive") as caught:
        train(workspace, "small", TrainOptions(target_iter=3))
    assert caught.value.hint


def test_a_model_that_is_made_on_a_full_disk_leaves_none(tmp_path: Path) -> None:
    with disks.small_disk(mib=4) as disk:
        workspace = workspace_with_faces(disk / "shot")
        disks.fill(disk)
        with pytest.raises(DiskFull):
            small_model(workspace)
        assert not is_model(workspace.model("small"))


def test_pictures_that_cannot_be_written_do_not_end_training(tmp_path: Path) -> None:
    workspace, options = made(tmp_path)
    previews = workspace.model("small") / "previews"
    shutil.rmtree(previews, ignore_errors=True)
    previews.write_text("no folder")  # works for every user, where a read-only folder does not stop root
    told: list[Event] = []
    done = train(workspace, "small", options.but(target_iter=2, preview_every=1), report=told.append)
    assert done.notes["iteration"] == 2
    assert any(isinstance(event, Note) and "could not be written" in event.message for event in told)


@pytest.mark.parametrize("name", ["backups", "best"])
def test_what_is_kept_beside_the_newest_states_and_cannot_be_does_not_end_training(tmp_path: Path, name: str) -> None:
    workspace, options = made(tmp_path)
    (workspace.model("small") / name).write_text("no folder")
    told: list[Event] = []
    commands = Commands()

    def watch(event: Event) -> None:
        told.append(event)
        if isinstance(event, Metrics) and event.iteration == 2:
            commands.offer({"command": "backup"})

    more = {"evaluate_every": 1, "hold_out": 0.4, "target_iter": 4}
    done = train(workspace, "small", options.but(**more), report=watch, commands=commands)
    assert done.notes["iteration"] == 4
    words = {"backups": "No backup of iteration", "best": "best state could not be kept"}[name]
    assert any(isinstance(event, Note) and words in event.message and event.level == "warning" for event in told)


def test_a_state_with_nonsense_about_its_faces_is_named(tmp_path: Path) -> None:
    workspace, options = made(tmp_path)
    train(workspace, "small", options.but(target_iter=1))
    (generation,) = CheckpointStore(workspace.model("small")).generations()
    state = json.loads((generation / "state.json").read_text())
    state["batches"] = {"seed": [], "iteration": 1}
    (generation / "state.json").write_text(json.dumps(state))
    manifest = json.loads((generation / MANIFEST).read_text())
    body = (generation / "state.json").read_bytes()
    manifest["files"]["state.json"] = {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    (generation / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(CorruptCheckpoint, match="where in the facesets"):
        train(workspace, "small", options.but(target_iter=2))
