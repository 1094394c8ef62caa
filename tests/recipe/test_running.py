"""A recipe runs, stops, is killed, is changed and goes on; and its page says what was done."""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest
from filelock import FileLock

from disks import fill, small_disk
from mortal import mortal
from small_faces import small_model, workspace_with_faces
from understudy.errors import Busy, DiskFull, Interrupted, InvalidOption, ReadOnlyWorkspace, UsageError
from understudy.recipe.journal import Journal
from understudy.recipe.options import RunOptions
from understudy.recipe.phases import Countdown, new_options, start_of, unlike
from understudy.recipe.planning import plan_of
from understudy.recipe.reading import load_recipe
from understudy.recipe.running import run_recipe
from understudy.recipe.scheduling import schedule_for, train_by_schedule
from understudy.report import PAUSED, Metrics, Note, Progress, silent
from understudy.training.options import TrainOptions
from understudy.training.saved.models import newest_iteration, read_record, write_record
from understudy.workspace import Workspace
from users import ordinary_user

RECIPE = """
title = "A <b>nasty</b> & short one"

[variables]
iterations = 2

[[step]]
run = "faceset sort"
side = "src"
by = "blur"

[[step]]
run = "train"
name = "small"
device = "cpu"
precision = "fp32"
threads = 1
hold_out = 0
batch_size = 2
preview_every = 2

[[step.phase]]
name = "warp"
end = "{iterations}"

[[step.phase]]
name = "regular"
random_warp = false
end = 2

[[step]]
run = "faceset resize"
side = "dst"
image_size = 128
replace = true
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Workspace:
    workspace = workspace_with_faces(tmp_path_factory.mktemp("recipe") / "shot", 4)
    small_model(workspace)
    return workspace


@pytest.fixture
def shot(made: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(made.root, tmp_path / "shot")
    return Workspace.open(tmp_path / "shot")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "short.toml"
    path.write_text(RECIPE)
    return path


def states(workspace: Workspace, recipe: Path) -> dict[str, str]:
    return {row.unit.id: row.state for row in plan_of(workspace, load_recipe(recipe))}


def what_came(workspace: Workspace) -> dict[str, bytes]:
    """What a recipe makes, without times and previews."""
    model = workspace.model("small")
    files = [*workspace.src.aligned.glob("*.jpg"), *workspace.dst.aligned.glob("*.jpg"), model / "history.jsonl"]
    files += sorted((model / "checkpoints").glob("*/weights.safetensors"))[-1:]
    return {path.relative_to(workspace.root).as_posix(): path.read_bytes() for path in files}


def test_it_runs_once_and_then_has_nothing_to_do(shot, recipe):
    events: list[object] = []
    result = run_recipe(shot, str(recipe), report=events.append)
    assert [step["state"] for step in result.notes["steps"]] == ["done"] * 4
    assert newest_iteration(shot.model("small")) == 4
    assert result.outputs[0] == shot.root / "report-short.html"
    steps = {event.step for event in events if isinstance(event, Progress)}
    assert {"Recipe", "2/4 Training", "3/4 Training"} <= steps
    before = what_came(shot)
    again: list[object] = []
    run_recipe(shot, str(recipe), report=again.append)
    assert what_came(shot) == before
    assert any(isinstance(event, Note) and "Everything of this recipe is done" in event.message for event in again)


def test_a_phase_says_all_that_its_schedule_is_about(shot, recipe):
    """What another phase had switched on is off again, without a word in this one."""
    run_recipe(shot, str(recipe), RunOptions(until="regular"))
    record = json.loads((shot.model("small") / "model.json").read_text())
    assert record["options"]["random_warp"] is False
    run_recipe(shot, str(recipe), RunOptions(from_="warp", until="warp"))
    record = json.loads((shot.model("small") / "model.json").read_text())
    assert record["options"]["random_warp"] is True
    assert newest_iteration(shot.model("small")) == 6


def test_a_changed_step_runs_again_with_those_after_it(shot, recipe):
    run_recipe(shot, str(recipe))
    recipe.write_text(RECIPE.replace("random_warp = false\nend = 2", "random_warp = false\nend = 3"))
    assert list(states(shot, recipe).values()) == ["done", "done", "changed", "changed"]
    run_recipe(shot, str(recipe))
    assert newest_iteration(shot.model("small")) == 7
    assert set(states(shot, recipe).values()) == {"done"}


def test_another_device_or_interval_makes_nothing_stale(shot, recipe):
    run_recipe(shot, str(recipe))
    recipe.write_text(RECIPE.replace("preview_every = 2", "preview_every = 9\nsave_minutes = 3\ncache_gb = 2"))
    assert set(states(shot, recipe).values()) == {"done"}


def test_until_and_from(shot, recipe):
    run_recipe(shot, str(recipe), RunOptions(until="faceset-sort-src"))
    assert list(states(shot, recipe).values()) == ["done", "left", "left", "left"]
    run_recipe(shot, str(recipe), RunOptions(from_="regular"))
    assert list(states(shot, recipe).values()) == ["done", "passed", "done", "done"]
    assert newest_iteration(shot.model("small")) == 2
    with pytest.raises(UsageError, match="comes before"):
        run_recipe(shot, str(recipe), RunOptions(from_="regular", until="warp"))


def test_stopped_it_goes_on_and_ends_as_if_it_had_not_been(shot, recipe, tmp_path):
    straight = tmp_path / "straight"
    shutil.copytree(shot.root, straight)
    run_recipe(Workspace.open(straight), str(recipe))
    seen: list[object] = []

    def stop() -> bool:
        return any(isinstance(event, Progress) and event.step == "3/4 Training" for event in seen)

    with pytest.raises(Interrupted):
        run_recipe(shot, str(recipe), report=seen.append, stop=stop)
    assert states(shot, recipe)["train-small/warp"] == "done"
    run_recipe(shot, str(recipe))
    assert what_came(shot) == what_came(Workspace.open(straight))


def killed_and_resumed(made: Workspace, recipe: Path, folder: Path, moments: int, seed: int) -> None:
    draw = random.Random(seed)
    with mortal() as run:
        shutil.copytree(made.root, folder / "straight")
        straight = Workspace.open(folder / "straight")
        fate = run("recipe.running:run_recipe", straight.root, recipe=str(recipe))
        assert fate.error is None
        wanted = what_came(straight)
        for number in range(moments):
            shutil.copytree(made.root, folder / f"killed-{number}")
            workspace = Workspace.open(folder / f"killed-{number}")
            for _ in range(3):
                run(
                    "recipe.running:run_recipe",
                    workspace.root,
                    kill_at=draw.randrange(fate.changes),
                    recipe=str(recipe),
                )
            assert run("recipe.running:run_recipe", workspace.root, recipe=str(recipe)).error is None
            assert what_came(workspace) == wanted, f"seed {seed}, run {number}"
            shutil.rmtree(workspace.root)


def test_killed_at_any_moment_the_same_command_ends_with_the_same_result(made, recipe, tmp_path):
    killed_and_resumed(made, recipe, tmp_path, moments=2, seed=5)


@pytest.mark.faults
@pytest.mark.timeout(3600)
def test_killed_at_many_moments(made, recipe, tmp_path):
    killed_and_resumed(made, recipe, tmp_path, moments=50, seed=11)


def test_a_step_that_a_killed_process_had_finished_is_not_done_twice(shot, recipe):
    """Resizing in place twice would lose detail; only the journal's last line was missing."""
    run_recipe(shot, str(recipe))
    wanted = what_came(shot)
    path = Journal.open(shot, "short").folder / "journal.json"
    body = json.loads(path.read_text())
    body["units"]["faceset-resize-dst"] |= {"state": "running", "mark": "none", "result": {}}
    path.write_text(json.dumps(body))
    run_recipe(shot, str(recipe))
    assert what_came(shot) == wanted


def test_two_at_once_are_refused(shot, recipe):
    (shot.private / "locks").mkdir(parents=True, exist_ok=True)
    with FileLock(shot.private / "locks" / "recipe.lock"), pytest.raises(Busy, match="Another recipe"):
        run_recipe(shot, str(recipe))


def test_a_refused_step_leaves_no_trace_and_may_be_mended(shot, tmp_path):
    path = tmp_path / "unpack.toml"
    path.write_text('[[step]]\nrun = "faceset unpack"\nside = "src"')
    with pytest.raises(UsageError, match=r"no faceset\.pak"):
        run_recipe(shot, str(path))
    assert Journal.open(shot, "unpack").entries == {}


def test_a_model_that_cannot_be_made_is_refused_before_the_first_step(shot, tmp_path):
    path = tmp_path / "odd.toml"
    path.write_text(
        '[[step]]\nrun = "faceset sort"\nside = "src"\nby = "blur"\n[[step]]\nrun = "train"\nname = "new"\n'
        'new = { model = "quick96", archi = "df" }\n[[step.phase]]\nname = "a"\nend = 2'
    )
    names = sorted(file.name for file in shot.src.aligned.iterdir())
    with pytest.raises(InvalidOption, match="have no --archi"):
        run_recipe(shot, str(path))
    assert sorted(file.name for file in shot.src.aligned.iterdir()) == names


def test_a_phase_that_a_class_has_no_choice_of_is_left_out(shot, tmp_path):
    path = tmp_path / "eyes.toml"
    path.write_text(
        '[[step]]\nrun = "train"\nname = "small"\ndevice = "cpu"\nhold_out = 0\n[[step.phase]]\nname = "eyes"\n'
        "eyes_mouth_prio = true\nend = 2\n"
    )
    result = run_recipe(shot, str(path))
    assert result.notes["steps"][0]["result"]["ended"] == "left out"
    assert "eyes_mouth_prio" in (shot.root / "report-eyes.html").read_text()


def test_a_schedule_trains_a_model_that_is_there(shot, recipe):
    options = TrainOptions(batch_size=1)
    result = train_by_schedule(shot, "small", str(recipe), options, RunOptions(set_=("iterations=3",)))
    assert [step["id"] for step in result.notes["steps"]] == ["train-small/warp", "train-small/regular"]
    record = json.loads((shot.model("small") / "model.json").read_text())
    assert record["options"]["batch_size"] == 1
    assert newest_iteration(shot.model("small")) == 5
    with pytest.raises(InvalidOption, match="does not go together with --schedule"):
        train_by_schedule(shot, "small", str(recipe), TrainOptions(target_iter=9))


def test_the_phase_after_pretraining_counts_from_0(shot):
    folder = shot.model("small")
    record = read_record(folder)
    write_record(folder, record.with_options({**record.options, "pretrain": True}))
    (folder / "checkpoints" / "0000200").mkdir(parents=True)
    training = next(step.training for step in load_recipe("classic").steps if step.training)
    training = replace(training, model="small")
    pretraining, warp = training.phases[:2]
    assert start_of(shot, training, pretraining) == 200
    assert start_of(shot, training, warp) == 0


def test_minutes_end_a_phase(shot, tmp_path):
    path = tmp_path / "time.toml"
    path.write_text(
        '[[step]]\nrun = "train"\nname = "small"\ndevice = "cpu"\nhold_out = 0\n[[step.phase]]\nname = "a"\n'
        "end = { minutes = 0.01 }\n"
    )
    result = run_recipe(shot, str(path))
    assert result.notes["steps"][0]["result"]["ended"] == "minutes"
    assert newest_iteration(shot.model("small"))


def test_the_page_asks_nothing_of_anyone_and_says_that_faces_are_altered(shot, recipe):
    run_recipe(shot, str(recipe))
    page = (shot.root / "report-short.html").read_text(encoding="utf-8")
    assert not re.search(r"""(src|href|action)\s*=\s*["']?(?!data:image/jpeg;base64,)[^"'>\s]""", page)
    assert "http://" not in page
    assert "https://" not in page
    assert "url(" not in page
    assert "<script" not in page
    assert "&lt;b&gt;nasty&lt;/b&gt; &amp; short" in page
    assert "<b>nasty" not in page
    assert "faces in these pictures are altered" in page
    assert str(shot.root) not in page
    assert page.count("<svg") >= 1
    assert page.count("data:image/jpeg") >= 2


def test_a_read_only_workspace_is_named(recipe):
    with ordinary_user() as folder:
        workspace = workspace_with_faces(folder / "shot", 2)
        copy = folder / "short.toml"
        copy.write_text(RECIPE)
        workspace.private.chmod(0o500)
        with pytest.raises(ReadOnlyWorkspace):
            run_recipe(workspace, str(copy))


def test_a_full_disk_is_named_and_the_recipe_goes_on_when_there_is_room(recipe):
    with small_disk(mib=16) as folder:
        workspace = workspace_with_faces(folder / "shot", 2)
        copy = recipe.with_name("sort.toml")
        copy.write_text(RECIPE.split('[[step]]\nrun = "train"')[0])
        ballast = fill(folder)
        with pytest.raises(DiskFull):
            run_recipe(workspace, str(copy))
        ballast.unlink()
        result = run_recipe(workspace, str(copy))
        assert [step["state"] for step in result.notes["steps"]] == ["done"]


def test_a_recipe_whose_steps_are_all_off_says_so(shot, tmp_path):
    path = tmp_path / "off.toml"
    path.write_text('[variables]\ngan = false\n[[step]]\nrun = "faceset info"\nside = "src"\nwhen = "gan"')
    with pytest.raises(UsageError, match="Every step of off is off"):
        run_recipe(shot, str(path))


def test_the_plan_of_a_run_that_begins_with_the_first_step_is_all_of_it(shot, tmp_path):
    path = tmp_path / "two.toml"
    path.write_text("".join(f'[[step]]\nrun = "faceset info"\nside = "{side}"\n' for side in ("src", "dst")))
    run_recipe(shot, str(path))
    planned = plan_of(shot, load_recipe(path), from_="faceset-info-src")
    assert [row.state for row in planned] == ["changed", "changed"]


def test_a_pause_takes_nothing_of_a_phases_minutes(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    countdown = Countdown(10, silent)
    countdown(Metrics(1, {}))
    for step, moment in (("Training", 4.0), (PAUSED, 5.0), ("Training", 100.0)):
        now[0] = moment
        countdown(Progress(step, 1, None, "iterations"))
    now[0] = 104.9
    assert not countdown.is_over
    now[0] = 105.1
    assert countdown.is_over


def test_a_model_that_is_there_and_another_than_the_recipe_says_is_named(shot, tmp_path):
    path = tmp_path / "other.toml"
    step = '[[step]]\nrun = "train"\nname = "small"\ndevice = "cpu"\nhold_out = 0\n'
    phase = '[[step.phase]]\nname = "a"\nend = 1\n'
    for number, (new, said) in enumerate(
        (
            ('model = "saehd"', "a Quick96 model, not saehd"),
            ("resolution = 64", "have no --resolution"),
            ('model = "quick96"', ""),
        )
    ):
        heard: list[object] = []
        path.write_text(f"{step}new = {{ {new} }}\n{phase}".replace('"a"', f'"{number}"'))
        run_recipe(shot, str(path), report=heard.append)
        notes = [event.message for event in heard if isinstance(event, Note) and "is there already" in event.message]
        assert [said in note for note in notes] == [True] * bool(said)


def test_a_model_that_was_made_as_typed_is_not_said_to_be_another(shot):
    """`small` is of Quick96; from the second phase on the model is there."""
    training = schedule_for("small", "default", TrainOptions(model="quick96")).steps[0].training
    assert training is not None
    assert unlike(shot, training) == []
    assert unlike(shot, replace(training, typed={})) == ["a Quick96 model, not saehd"]


def test_another_class_than_the_schedules_goes_without_what_it_has_not():
    schedule = schedule_for("new", "default", TrainOptions(model="amp"))
    training = schedule.steps[0].training
    assert training is not None
    new = new_options(training)
    assert new["model"] == "amp"
    assert "archi" not in new
    assert new["resolution"] == 128
    assert "archi" in new_options(replace(training, typed={"model": "saehd"}))
