"""Several processes train one model: what they learn is what one would have learned, and none of them is missed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from small_faces import workspace_with_faces
from understudy.errors import InvalidOption, UsageError
from understudy.networks.amp import AmpConfig
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi, FaceType, PrecisionChoice
from understudy.report import Event, Metrics, Note
from understudy.stages.train import train
from understudy.stages.train_team import shared_out
from understudy.training.commands import Commands
from understudy.training.optimisers.sharing import owners
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import Checkpoint, CheckpointStore
from understudy.training.saved.new import create_model
from understudy.training.team.launching import devices_named, seat_by_torchrun
from understudy.training.team.team import Order, Team
from understudy.training.team.torchrun import rank_by_torchrun
from understudy.workspace import Workspace

FAST = TrainOptions(
    batch_size=4, precision=PrecisionChoice.FP32, threads=1, preview_every=0, device="cpu", hold_out=0.0
)
TWO = FAST.but(devices="2")
NUMBERS: dict[str, Any] = {
    "size": 64, "face_type": FaceType.WHOLE_FACE, "ae_dims": 16, "e_dims": 16, "d_dims": 16, "d_mask_dims": 16,
}  # fmt: skip
MODELS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "saehd": (
        "saehd",
        SaehdConfig(archi=Archi.parse("df-ud"), **NUMBERS),
        {"gan_power": 0.1, "gan_dims": 8, "true_face_power": 0.01, "clipgrad": True, "eyes_mouth_prio": True},
    ),
    "amp": ("amp", AmpConfig(inter_dims=24, **NUMBERS), {"gan_power": 0.1, "gan_dims": 8}),
}


def made(root: Path, kind: str, options: TrainOptions = FAST) -> tuple[Workspace, TrainOptions]:
    workspace = workspace_with_faces(root)
    model_class, config, more = MODELS[kind]
    create_model(workspace.model("small"), model_class, config=config)
    return workspace, options.but(**more)


def newest(workspace: Workspace) -> Checkpoint:
    found = CheckpointStore(workspace.model("small")).newest()
    assert found is not None
    return found


def copy_of(workspace: Workspace, root: Path) -> Workspace:
    shutil.copytree(workspace.root, root)
    return Workspace.open(root)


def assert_same_step(one: Checkpoint, other: Checkpoint, kind: str = "saehd") -> None:
    """One step from the same state: weights to 2e-6, 4 % of an update, first moments, which are of the gradient, to
    1e-5 of a tensor's largest. Discriminators, which learn from the swapper's new weights: to 5e-5 and to 1e-3, of AMP
    to 2e-2."""
    for name, weight in one.weights.items():
        near = 5e-5 if name.startswith(("gan.", "code_discriminator.")) else 2e-6
        torch.testing.assert_close(other.weights[name], weight, rtol=0, atol=near, msg=name)
    assert one.optimiser is not None
    assert other.optimiser is not None
    for name, moment in one.optimiser.items():
        if "first." in name:
            share = 1e-5 if "/" not in name else 2e-2 if kind == "amp" else 1e-3
            near = share * float(moment.abs().max())
            torch.testing.assert_close(other.optimiser[name], moment, rtol=0, atol=near + 1e-12, msg=name)


@pytest.mark.parametrize("kind", MODELS)
def test_two_processes_learn_what_one_learns_with_the_same_batch(tmp_path: Path, kind: str) -> None:
    """The first step, and the third with moments and discriminators that have learned. Each from the same state: over
    several steps any noise grows, in one process as in two, once an activation next to 0 takes the other side."""
    one, options = made(tmp_path / "one", kind)
    for step in (1, 3):
        if step > 1:
            train(one, "small", options.but(target_iter=step - 1))
        two = copy_of(one, tmp_path / f"two-{step}")
        train(one, "small", options.but(target_iter=step))
        train(two, "small", options.but(target_iter=step, devices="2"))
        alone, together = newest(one), newest(two)
        assert alone.iteration == together.iteration == step
        assert alone.state["batches"] == together.state["batches"]
        assert_same_step(alone, together, kind)
        last = [json.loads((w.model("small") / "history.jsonl").read_text().splitlines()[-1]) for w in (one, two)]
        assert last[1] == pytest.approx(last[0], rel=1e-3)


@pytest.mark.faults
def test_a_run_of_two_processes_goes_on_with_one_and_with_two(tmp_path: Path) -> None:
    one, options = made(tmp_path / "one", "saehd")
    train(one, "small", options.but(target_iter=2, devices="2"))
    two = copy_of(one, tmp_path / "two")
    for workspace, devices in ((one, ""), (two, "2")):
        train(workspace, "small", options.but(target_iter=3, devices=devices))
    assert_same_step(newest(one), newest(two))
    assert newest(one).state["batches"] == newest(two).state["batches"]


@pytest.mark.parametrize(
    "precision", [PrecisionChoice.FP32, pytest.param(PrecisionChoice.BF16, marks=pytest.mark.faults)]
)
def test_shared_out_moments_learn_and_are_saved_as_whole_ones(tmp_path: Path, precision: PrecisionChoice) -> None:
    """To the last bit: the same updates, made elsewhere. With a change on the way, for which all are put together."""
    folders = []
    for name, shard in (("whole", False), ("parts", True)):
        workspace, options = made(tmp_path / name, "saehd", TWO)
        commands = Commands()
        changed = change_after(commands, 2, {"clipgrad": False, "optimiser": "rmsprop"})
        train(
            workspace,
            "small",
            options.but(target_iter=4, shard=shard, precision=precision),
            report=changed,
            commands=commands,
        )
        folders.append(workspace)
    whole, parts = (newest(workspace) for workspace in folders)
    assert whole.optimiser is not None
    assert parts.optimiser is not None
    assert whole.optimiser.keys() == parts.optimiser.keys()
    assert all(torch.equal(tensor, parts.weights[name]) for name, tensor in whole.weights.items())
    assert all(torch.equal(tensor, parts.optimiser[name]) for name, tensor in whole.optimiser.items())


def change_after(commands: Commands, iteration: int, values: dict[str, Any]) -> Callable[[Event], None]:
    """A report that changes options after an iteration, as `train-control set` does."""
    done: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, Metrics) and event.iteration >= iteration and not done:
            done.append(event.iteration)
            commands.offer({"command": "set", "options": values})

    return watch


@pytest.mark.faults
def test_options_that_no_process_can_take_change_nothing_and_end_nothing(tmp_path: Path) -> None:
    """Masks of eyes and mouth are asked for when the faces have been deleted."""
    workspace, options = made(tmp_path, "saehd", TWO.but(shard=True))
    commands, told = Commands(), list[Event]()
    changing = change_after(commands, 2, {"eyes_mouth_prio": True})

    def watch(event: Event) -> None:
        told.append(event)
        if isinstance(event, Metrics) and event.iteration == 2:
            shutil.rmtree(workspace.src.aligned)
        changing(event)

    done = train(workspace, "small", options.but(eyes_mouth_prio=False, target_iter=5), report=watch, commands=commands)
    assert done.notes["iteration"] == 5
    assert any(
        isinstance(event, Note) and "Nothing was changed: aligned cannot be read" in event.message for event in told
    )


def test_a_stop_asked_while_a_process_waits_for_the_others_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal's handler runs when the wait is over, just before what the others said is looked at."""
    team = Team(0, 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda message, op: setattr(team, "stop_wanted", True))
    team.order(Order.WAIT)
    assert team.stop_wanted


def test_each_process_keeps_about_its_share() -> None:
    parameters = {str(number): torch.empty(size) for number, size in enumerate((50, 40, 30, 20, 10, 9, 8))}
    whose = owners(parameters, 2)
    assert set(whose) == set(parameters)
    kept = [sum(parameters[name].numel() for name in whose if whose[name] == rank) for rank in (0, 1)]
    assert abs(kept[0] - kept[1]) <= 10


def running(workspace: Workspace, options: TrainOptions) -> subprocess.Popen[str]:
    """The training as a process of its own, once it has trained two iterations."""
    code = """
import sys
from pathlib import Path
from understudy.errors import UnderstudyError
from understudy.stages.train import train
from understudy.stages.train_team import shared_out
from understudy.training.options import TrainOptions
from understudy.workspace import Workspace

if __name__ == "__main__":
    try:
        train(Workspace.open(Path(sys.argv[1])), "small", TrainOptions.of(**eval(sys.argv[2])))
    except UnderstudyError as error:
        print(error.code, error.message, flush=True)
        sys.exit(error.exit_code)
"""
    values = repr(options.model_dump(mode="json"))
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.root), values], stdout=subprocess.PIPE, text=True
    )
    wait_for(workspace, 2, process)
    return process


def wait_for(workspace: Workspace, lines: int, process: subprocess.Popen[str]) -> None:
    history = workspace.model("small") / "history.jsonl"
    deadline = time.monotonic() + 120
    while not history.is_file() or history.read_bytes().count(b"\n") < lines:
        assert process.poll() is None, process.stdout.read() if process.stdout else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)


def assistant_of(process: subprocess.Popen[str]) -> psutil.Process:
    found: list[psutil.Process] = [
        child
        for child in psutil.Process(process.pid).children(recursive=True)
        if "understudy.stages.train_assistant" in child.cmdline()
    ]
    assert len(found) == 1
    return found[0]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_when_a_process_is_lost_the_others_say_so_and_the_model_goes_on(tmp_path: Path) -> None:
    """With what the first process had learned by then: it was in the middle of no update."""
    workspace, options = made(tmp_path, "saehd", TWO)
    process = running(workspace, options)
    assistant_of(process).kill()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert told.startswith("process-lost The process on cpu (number 1) is gone")
    reached = newest(workspace).iteration
    assert reached >= 1
    train(workspace, "small", TrainOptions(target_iter=reached + 2, devices=""))
    assert newest(workspace).iteration == reached + 2


@pytest.mark.faults
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs a way to make a process fall silent")
def test_a_process_that_falls_silent_is_given_up_after_a_while(tmp_path: Path) -> None:
    """As when the power of its machine goes: no connection is closed."""
    workspace, options = made(tmp_path, "saehd", TWO.but(team_timeout=0.1))
    process = running(workspace, options)
    assistant = assistant_of(process)
    assistant.suspend()
    told, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert told.startswith("process-lost ")
    assert not assistant.is_running()
    train(workspace, "small", TrainOptions(target_iter=newest(workspace).iteration + 1, devices=""))


@pytest.mark.faults
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_when_the_first_process_is_lost_the_others_leave(tmp_path: Path) -> None:
    workspace, options = made(tmp_path, "saehd", TWO)
    process = running(workspace, options)
    assistant = assistant_of(process)
    process.kill()
    process.communicate()
    psutil.wait_procs([assistant], timeout=30)
    assert not assistant.is_running()
    reached = newest(workspace).iteration
    train(workspace, "small", TrainOptions(target_iter=reached + 1, devices=""))


@pytest.mark.faults
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM that a process can answer")
def test_a_stop_asked_of_any_process_ends_the_training_with_everything_saved(tmp_path: Path) -> None:
    workspace, options = made(tmp_path, "saehd", TWO)
    process = running(workspace, options)
    assistant_of(process).terminate()
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert told.startswith("interrupted ")
    lines = (workspace.model("small") / "history.jsonl").read_text().splitlines()
    assert newest(workspace).iteration == json.loads(lines[-1])["iteration"]


@pytest.mark.parametrize("by_schedule", [True, pytest.param(False, marks=pytest.mark.faults)])
def test_torchrun_starts_a_training_on_several_machines(tmp_path: Path, by_schedule: bool) -> None:
    """Two processes as torchrun starts them: each is the command that a person would type, and one of them prints."""
    workspace, _ = made(tmp_path, "saehd")
    schedule = tmp_path / "two.toml"
    schedule.write_text("".join(f'[[train.phase]]\nname = "{name}"\nend = 1\n' for name in "ab"))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python"]
    command += ["--log-dir", str(tmp_path / "logs")]
    typed = ["--schedule", str(schedule)] if by_schedule else ["--target-iter", "2"]
    typed += ["--batch-size", "4", "--device", "cpu", "--precision", "fp32", "--threads", "1"]
    typed += ["--hold-out", "0", "--preview-every", "0"]
    command += [sys.executable, "-m", "understudy", "-w", str(workspace.root), "--json", "train", "small", *typed]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    body = json.loads(done.stdout)
    reached = [step["result"]["iteration"] for step in body["steps"]] if by_schedule else [1, body["iteration"]]
    assert reached == [1, 2]
    assert newest(workspace).iteration == 2


def test_places_that_torchrun_gives() -> None:
    names = {"TORCHELASTIC_RUN_ID": "1", "RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}
    seat = seat_by_torchrun("cpu", names)
    assert (seat.rank, seat.local_rank, seat.nodes, seat.size, seat.device) == (3, 1, 2, 4, "cpu")
    assert rank_by_torchrun(names) == 3
    assert rank_by_torchrun({**names, "WORLD_SIZE": "1"}) is None
    assert rank_by_torchrun({"RANK": "0", "WORLD_SIZE": "2"}) is None
    with pytest.raises(UsageError, match="equally many"):
        seat_by_torchrun("cpu", {**names, "WORLD_SIZE": "5"})


def test_devices_are_numbers_of_cards_or_how_many() -> None:
    assert devices_named("cpu", "") == ["cpu"]
    assert devices_named("cpu", "3") == ["cpu"] * 3
    for wrong in ("two", "0", "1;2"):
        with pytest.raises(InvalidOption, match="--devices"):
            devices_named("cpu", wrong)
    with pytest.raises(InvalidOption, match="cuda:98"):
        devices_named("auto", "98,99")


@pytest.mark.parametrize(("asked", "size", "given"), [(3, 2, 2), (4, 2, 4), (1, 2, 2), (9, 4, 8)])
def test_a_batch_that_cannot_be_divided_becomes_one_that_can(asked: int, size: int, given: int) -> None:
    """As the reference divides it: as many as fit equally, and at least one for each."""
    events: list[Event] = []
    shared = shared_out(TrainOptions(batch_size=asked), Team(0, size), events.append)
    assert shared.batch_size == given
    told = [event.message for event in events if isinstance(event, Note)]
    assert bool(told) is (asked != given)


def test_samples_belong_to_processes_in_order() -> None:
    """Sample i to process i // (batch / processes), as the reference deals them."""
    assert [Team(rank, 3).part(6) for rank in range(3)] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert Team().part(5) == slice(0, 5)
