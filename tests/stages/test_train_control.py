"""A training that runs does what people ask of it between two iterations, and says at once what it will not do."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from small_faces import small_model, workspace_with_faces
from understudy.errors import Interrupted, InvalidOption, JobError
from understudy.networks.saehd import SaehdConfig
from understudy.records import PrecisionChoice
from understudy.report import PAUSED, Event, Metrics, Note, Progress
from understudy.stages.train import train
from understudy.training.commands import Commands
from understudy.training.options import TrainOptions
from understudy.training.saved.models import read_record
from understudy.training.saved.new import create_model
from understudy.workspace import Workspace

TINY: dict[str, Any] = {"size": 32, "ae_dims": 8, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4}
FAST = TrainOptions(batch_size=2, precision=PrecisionChoice.FP32, threads=1, preview_every=0, hold_out=0.0)


class Running:
    """A training on a thread of its own, as a job is a process of its own."""

    def __init__(self, workspace: Workspace, options: TrainOptions) -> None:
        self.commands, self.events, self.folder = Commands(), list[Event](), workspace.model("small")
        self.stopped = threading.Event()
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._train, args=(workspace, options))
        self._thread.start()

    def _train(self, workspace: Workspace, options: TrainOptions) -> None:
        try:
            train(
                workspace,
                "small",
                options,
                report=self.events.append,
                stop=self.stopped.is_set,
                commands=self.commands,
            )
        except BaseException as error:
            self.error = error

    def ask(self, command: str, **options: Any) -> dict[str, Any]:
        return self.commands.offer({"command": command, **({"options": options} if options else {})})

    def until(self, what: Callable[[], object], secs: float = 60.0) -> None:
        end = time.monotonic() + secs
        while not what():
            assert time.monotonic() < end, "it did not come"
            assert self._thread.is_alive() or what(), self.error
            time.sleep(0.01)

    def on(self, iterations: int = 2) -> None:
        """Wait for some more iterations."""
        now = self.commands.iteration
        self.until(lambda: self.commands.iteration >= now + iterations)

    def end(self) -> BaseException | None:
        self.stopped.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.error

    def notes(self) -> str:
        return "\n".join(event.message for event in self.events if isinstance(event, Note))


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    workspace = workspace_with_faces(tmp_path / "shot")
    small_model(workspace)
    started = Running(workspace, FAST)
    started.until(lambda: started.commands.iteration >= 1)
    yield started
    started.end()


def test_a_change_counts_from_the_next_iteration_and_stays(running: Running) -> None:
    answer = running.ask("set", random_warp="off", **{"batch-size": "3"}, save_minutes="0.5")
    assert answer["changed"] == {"batch_size": [2, 3], "random_warp": [True, False], "save_minutes": [10.0, 0.5]}
    assert answer["model"] == "small"
    running.on()
    assert "batch_size 2 → 3" in running.notes()
    record = read_record(running.folder)
    assert (record.options["batch_size"], record.options["random_warp"]) == (3, False)
    assert "random_warp True → False" in record.events[-1]["text"]
    assert isinstance(running.end(), Interrupted)


def test_what_was_changed_holds_in_the_next_run(running: Running, tmp_path: Path) -> None:
    running.ask("set", random_warp="off")
    running.on()
    running.end()
    workspace = Workspace.open(tmp_path / "shot")
    goal = running.commands.iteration + 1
    train(workspace, "small", TrainOptions(target_iter=goal))
    state = json.loads((running.folder / f"checkpoints/{goal:09d}/state.json").read_text())
    assert state["options"]["random_warp"] is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"resolution": "128"}, "keeps the architecture"),
        ({"model": "amp"}, "keeps its class"),
        ({"seed": "3"}, "everything drawn"),
        ({"device": "cpu"}, "--device"),
        ({"random_wrap": "no"}, "random_warp"),
        ({"batch_size": "0"}, "1 to 512"),
        ({"random_warp": "perhaps"}, "on or off"),
        ({"lr_dropout": "sometimes"}, "n, y or cpu"),
        ({"gan_power": "0.1"}, "always train with 0"),
        ({"preview_faces": "src/00009"}, "Near it: src/0000"),
        ({}, "No option"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_reason(running: Running, options: dict[str, str], words: str) -> None:
    """Nothing of a request is carried out when a part of it cannot be."""
    before = dict(read_record(running.folder).options)
    message: dict[str, Any] = {"command": "set", "options": {"save_minutes": "99", **options} if options else {}}
    with pytest.raises(InvalidOption) as caught:
        running.commands.offer(message)
    assert words in f"{caught.value.message} {caught.value.hint}"
    running.on()
    assert read_record(running.folder).options == before


def test_what_needs_faces_that_are_gone_is_not_changed_and_training_goes_on(tmp_path: Path) -> None:
    workspace = workspace_with_faces(tmp_path)
    create_model(workspace.model("small"), "saehd", config=SaehdConfig(**TINY))
    started = Running(workspace, FAST)
    started.until(lambda: started.commands.iteration >= 1)
    shutil.rmtree(workspace.dst.aligned)
    started.ask("set", eyes_mouth_prio="yes")
    started.until(lambda: "Nothing was changed: aligned cannot be read" in started.notes())
    started.on()
    assert isinstance(started.end(), Interrupted)


def test_a_pause_computes_nothing_and_still_answers_saves_and_changes(running: Running) -> None:
    running.ask("pause")
    running.until(lambda: running.commands.paused)
    at, cpu = running.commands.iteration, time.process_time()
    time.sleep(1.0)
    assert time.process_time() - cpu < 0.2
    assert running.commands.iteration == at
    assert (running.folder / f"checkpoints/{at:09d}").is_dir()
    assert any(isinstance(event, Progress) and event.step == PAUSED for event in running.events)
    assert running.ask("set", batch_size=4)["changed"] == {"batch_size": [2, 4]}
    running.ask("backup")
    running.until(lambda: (running.folder / f"backups/{at:09d}").is_dir())
    running.ask("resume")
    running.on()
    assert not running.commands.paused


def test_a_paused_training_can_be_stopped(running: Running) -> None:
    running.ask("pause")
    running.until(lambda: running.commands.paused)
    started = time.monotonic()
    assert isinstance(running.end(), Interrupted)
    assert time.monotonic() - started < 10


def test_a_backup_shows_what_it_holds(running: Running) -> None:
    running.ask("backup")
    running.until(lambda: "Backup of iteration" in running.notes())
    (backup,) = running.folder.glob("backups/0*")
    assert {path.name for path in backup.glob("*.jpg")} == {"preview_Quick96.jpg", "preview_Quick96_masked.jpg"}


def test_a_preview_is_drawn_when_asked(running: Running) -> None:
    picture = running.folder / "previews" / "Quick96.png"
    assert not picture.exists()
    running.ask("preview")
    running.until(picture.exists)


def test_faces_of_the_previews_can_be_chosen_meanwhile(running: Running) -> None:
    running.ask("set", preview_faces="src/00002_0,00004_0")
    running.ask("preview")
    picture = running.folder / "previews" / "Quick96.png"
    running.until(picture.exists)
    running.end()
    with Image.open(picture) as image:
        rows = image.height // 32
    assert rows == 2


def test_a_target_behind_ends_the_training_at_once(running: Running) -> None:
    running.ask("set", target_iter=1)
    running._thread.join(60)
    assert running.error is None


def test_stop_saves_and_ends(running: Running) -> None:
    at = running.ask("stop")["iteration"]
    running._thread.join(60)
    assert isinstance(running.error, Interrupted)
    assert max(int(path.name) for path in running.folder.glob("checkpoints/0*")) >= at


def test_nothing_is_accepted_after_the_end(running: Running) -> None:
    running.end()
    with pytest.raises(JobError, match="about to end"):
        running.ask("save")


def test_the_clock_of_the_wall_neither_causes_nor_skips_a_save(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A laptop whose clock is set right, or daylight saving, must not change when states are saved."""
    real = time.time
    running.on()
    before = sorted(running.folder.glob("checkpoints/0*"))
    for hours in (48, -48):
        monkeypatch.setattr(time, "time", lambda hours=hours: real() + hours * 3600)
        running.on(3)
        assert sorted(running.folder.glob("checkpoints/0*")) == before


def test_every_iteration_says_what_people_compare(running: Running) -> None:
    running.on(3)
    metrics = [event for event in running.events if isinstance(event, Metrics)]
    assert {"src", "dst", "seconds"} <= set(metrics[-1].values)
    assert np.isfinite(metrics[-1].values["seconds"])


def test_what_is_accepted_as_training_ends_is_done_and_then_nothing_more(tmp_path: Path) -> None:
    """Between the last look at what was asked and the end nothing that was answered with yes may be lost."""
    workspace, commands, refused = workspace_with_faces(tmp_path / "shot"), Commands(), list[str]()
    folder = small_model(workspace)

    def stop() -> bool:
        if commands.iteration < 2:
            return False
        commands.offer({"command": "set", "options": {"random_warp": "off"}})
        commands.offer({"command": "pause"})
        commands.offer({"command": "backup"})
        return True

    def report(event: Event) -> None:
        if isinstance(event, Note) and event.message.startswith("Saved at iteration 2"):
            with pytest.raises(JobError) as caught:
                commands.offer({"command": "set", "options": {"random_warp": "on"}})
            refused.append(caught.value.message)

    with pytest.raises(Interrupted):
        train(workspace, "small", FAST, stop=stop, report=report, commands=commands)
    assert refused
    assert read_record(folder).options["random_warp"] is False
    assert [path.name for path in (folder / "backups").iterdir()] == ["000000002"]
    assert commands.take() == []
