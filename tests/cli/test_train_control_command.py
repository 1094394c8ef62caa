"""train-control as a person types it, while another terminal trains: one real job, asked everything."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal import COMMAND, Ended, understudy

from small_faces import small_model, workspace_with_faces
from understudy.cli.train_control import Action, parted, shown, told, training_of
from understudy.errors import InvalidOption
from understudy.jobs import Request, running_in, send
from understudy.jobs.folder import create
from understudy.training.saved.models import read_record
from understudy.workspace import Workspace


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    """A workspace in which a small model trains in a job that another terminal has started."""
    workspace = workspace_with_faces(tmp_path_factory.mktemp("control") / "shot")
    small_model(workspace)
    line = ["-w", str(workspace.root), "train", "small", "--batch-size", "2", "--precision", "fp32", "--threads", "1"]
    terminal = subprocess.Popen([*COMMAND, *line], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: at(workspace) > 1)
        yield workspace
        control(workspace, "stop")
        assert terminal.wait(60) == 130
    finally:
        terminal.kill()
        terminal.wait()


def at(workspace: Workspace) -> int:
    """The iteration that the job says it is at; 0 before it trains."""
    for job in running_in(workspace.private / "jobs"):
        if job.address:
            return int(send(job, "ping").get("iteration", 0))
    return 0


def until(what: object, secs: float = 90.0) -> None:
    assert callable(what)
    end = time.monotonic() + secs
    while not what():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


def control(workspace: Workspace, *words: str, json: bool = False) -> Ended:
    return understudy("-w", workspace.root, *(["--json"] if json else []), "train-control", "small", *words)


def test_a_change_from_another_terminal(training: Workspace) -> None:
    done = control(training, "set", "batch-size=3", "random_warp=off")
    assert done.code == 0, done.err
    assert "batch_size: 2 → 3" in done.out
    assert "random_warp: on → off" in done.out
    until(lambda: read_record(training.model("small")).options.get("batch_size") == 3)
    (job,) = running_in(training.private / "jobs")
    assert "batch_size 2 → 3" in job.events.read_text(encoding="utf-8")


def test_the_same_value_again_changes_nothing(training: Workspace) -> None:
    control(training, "set", "keep_checkpoints=2")
    assert "already" in control(training, "set", "keep_checkpoints=2").out


def test_json_gives_one_object(training: Workspace) -> None:
    body = control(training, "set", "autobackup_hour=5", json=True).body
    assert body["ok"]
    assert body["changed"] == {"autobackup_hour": [0, 5]}
    assert body["model"] == "small"
    assert body["iteration"] > 0


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("set", "resolution=128"), "architecture"),
        (("set", "batch_size=9999"), "1 to 512"),
        (("set", "batch_sise=3"), "batch_size"),
        (("set", "batch_size"), "batch_size=3"),
        (("set",), "at least one option"),
        (("save", "batch_size=3"), "takes no options"),
    ],
)
def test_what_cannot_be_is_refused(training: Workspace, words: tuple[str, ...], reason: str) -> None:
    done = control(training, *words)
    assert done.code == 2
    assert reason in done.err or reason.replace("batch_size=3", "gan_power=0.1") in done.err


def test_pause_and_resume_and_what_status_shows(training: Workspace) -> None:
    assert "resume" in control(training, "pause").out
    until(lambda: "paused" in understudy("-w", training.root, "status").out)
    assert control(training, "backup").code == 0
    until(lambda: list(training.model("small").glob("backups/0*/manifest.json")))
    assert control(training, "resume").code == 0
    until(lambda: "Training of small: running, iteration" in understudy("-w", training.root, "status").out)
    running = understudy("-w", training.root, "--json", "status").body["running"]
    assert set(running[0]["losses"]) == {"src", "dst"}
    assert "ms" in understudy("-w", training.root, "status").out


def test_another_model_is_not_in_training(training: Workspace) -> None:
    done = understudy("-w", training.root, "train-control", "other", "save")
    assert done.code == 2
    assert "small" in done.err


def test_without_a_training_the_start_is_named(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "shot")
    done = understudy("-w", workspace.root, "--json", "train-control", "hello", "save")
    assert done.code == 2
    assert "understudy train hello" in done.body["error"]["hint"]


def test_options_are_parted_at_the_first_equals_sign() -> None:
    assert parted(["freeze=a,b", "preview_faces=src/1=2"]) == {"freeze": "a,b", "preview_faces": "src/1=2"}
    for wrong in ("gan_power", "=3"):
        with pytest.raises(InvalidOption):
            parted([wrong])


def test_values_read_as_they_are_typed() -> None:
    assert [shown(value) for value in (True, None, 0.1, ["a", "b"])] == ["on", "none", "0.1", "a,b"]
    answer = {"model": "m", "iteration": 9, "changed": {"gan_dims": [16, 32]}, "notes": ["It sleeps."]}
    assert told(Action.SET, answer) == "m, from iteration 10 on:\n  gan_dims: 16 → 32\nIt sleeps."


@pytest.mark.parametrize("stage", ["stages.train:train", "recipe.scheduling:train_by_schedule"])
def test_a_job_that_does_not_listen_yet_is_known_by_what_it_was_asked(tmp_path: Path, stage: str) -> None:
    job = create(tmp_path / "jobs", Request(f"understudy.{stage}", tmp_path, "Training", {"name": "small"}))
    assert training_of([job], "small") == job
