"""Evaluation as a user meets it: while a model trains, when it is resumed, at a plateau, and asked for by name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from small_faces import small_model, workspace_with_faces
from understudy.errors import IncompatibleModel, Interrupted, MissingModel
from understudy.facesets import Catalog
from understudy.records import PrecisionChoice, Side
from understudy.report import Event, Metrics, Note, Preview
from understudy.stages.held_out_faces import consecutive
from understudy.stages.load_model import load_model
from understudy.stages.model_evaluate import evaluate_model
from understudy.stages.model_show import show_model
from understudy.stages.train import train
from understudy.training.measuring.held_out import HeldOut
from understudy.training.options import TrainOptions
from understudy.training.saved.best import find_best
from understudy.training.saved.models import read_record, write_record
from understudy.workspace import Workspace

FAST = TrainOptions(batch_size=2, precision=PrecisionChoice.FP32, threads=1, preview_every=0)
WATCHED = FAST.but(hold_out=0.25, evaluate_every=2)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_with_faces(tmp_path / "shot", 20)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small model, trained to iteration 6 and evaluated on the way; not to be changed."""
    workspace = workspace_with_faces(tmp_path_factory.mktemp("trained") / "shot", 20)
    small_model(workspace)
    train(workspace, "small", WATCHED.but(target_iter=6))
    return workspace


def lines(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "evaluation.jsonl").read_text().splitlines()]


def test_a_training_is_measured_on_faces_that_it_does_not_see(workspace: Workspace) -> None:
    events: list[Event] = []
    folder = small_model(workspace)
    result = train(workspace, "small", WATCHED.but(target_iter=4), report=events.append)
    assert result.faces == 2 * (20 - 5 - 1)  # five held out, one between
    found = lines(folder)
    assert [line["iteration"] for line in found] == [2, 4]
    assert {"held_src", "train_src", "ssim_dst", "iou_src"} <= set(found[0])
    assert found[0]["on"] == "held_out"
    told = [event.values for event in events if isinstance(event, Metrics) and "held_out" in event.values]
    assert [values["held_src"] for values in told] == [line["held_src"] for line in found]
    assert {"held_out", "gap"} <= set(told[0])
    curve = next(event for event in events if isinstance(event, Preview) and event.name == "Evaluation")
    assert curve.path == folder / "evaluation_curve.png"
    assert curve.path.is_file()


def test_a_resumed_training_measures_what_the_uninterrupted_one_does(workspace: Workspace, trained: Workspace) -> None:
    folder = small_model(workspace)
    train(workspace, "small", WATCHED.but(target_iter=3))
    with (folder / "evaluation.jsonl").open("a") as file:
        file.write('{"iteration": 4, "half a li')
    train(workspace, "small", FAST.but(target_iter=6))
    assert (folder / "evaluation.jsonl").read_bytes() == (trained.model("small") / "evaluation.jsonl").read_bytes()
    assert (folder / "history.jsonl").read_bytes() == (trained.model("small") / "history.jsonl").read_bytes()


def test_looking_at_held_out_faces_changes_no_weight(workspace: Workspace, trained: Workspace) -> None:
    folder = small_model(workspace)
    train(workspace, "small", WATCHED.but(target_iter=6, evaluate_every=0))
    weights = "checkpoints/000000006/weights.safetensors"
    assert (folder / weights).read_bytes() == (trained.model("small") / weights).read_bytes()
    assert not (folder / "evaluation.jsonl").exists()


def test_held_out_faces_stay_held_out_when_others_come(workspace: Workspace) -> None:
    folder = small_model(workspace)
    train(workspace, "small", WATCHED.but(target_iter=1))
    before = read_record(folder).held_out
    for side in Side:
        faces = workspace.side(side).aligned
        for path in sorted(faces.glob("*.jpg"))[:3]:
            path.unlink()
    result = train(workspace, "small", FAST.but(target_iter=2))
    assert read_record(folder).held_out == before
    assert result.faces == 2 * (20 - 3 - 5 - 1)


def test_the_best_state_is_kept_and_told_and_drawn_with(trained: Workspace) -> None:
    folder = trained.model("small")
    best = find_best(folder)
    assert best is not None
    assert best.iteration in (1, 6)
    shown = show_model(trained, "small")
    assert shown.notes["best"][0]["iteration"] == best.iteration
    assert shown.notes["evaluation"]["count"] == 3
    assert {path.name for path in shown.outputs} == {"loss_curve.png", "evaluation_curve.png"}
    fp32 = PrecisionChoice.FP32
    assert load_model(folder, precision=fp32, checkpoint="best").iteration == best.iteration
    assert load_model(folder, precision=fp32, checkpoint=6).iteration == 6
    with pytest.raises(MissingModel, match="iteration 77"):
        load_model(folder, checkpoint=77)


def test_training_ends_where_nothing_gets_better_and_stays_ended(workspace: Workspace) -> None:
    """At a learning rate that changes nothing."""
    folder = small_model(workspace)
    stuck = WATCHED.but(learning_rate=1e-12, evaluate_every=1, plateau=3)
    result = train(workspace, "small", stuck)
    assert (result.notes["ended"], result.notes["iteration"]) == ("plateau", 4)
    assert (folder / "checkpoints" / "000000004").is_dir()
    assert train(workspace, "small", FAST).notes["iteration"] == 4
    assert train(workspace, "small", FAST.but(plateau=5)).notes["iteration"] == 6
    assert train(workspace, "small", FAST.but(plateau=5, target_iter=5)).notes["ended"] == "target"


def test_another_phase_begins_to_count_anew(workspace: Workspace) -> None:
    small_model(workspace)
    stuck = WATCHED.but(learning_rate=1e-12, evaluate_every=1, plateau=2)
    assert train(workspace, "small", stuck).notes["iteration"] == 3
    assert train(workspace, "small", FAST.but(random_warp=False)).notes["iteration"] == 6


def test_too_few_faces_hold_none_out_and_it_is_said(tmp_path: Path) -> None:
    events: list[Event] = []
    workspace = workspace_with_faces(tmp_path / "shot")
    folder = small_model(workspace)
    result = train(workspace, "small", FAST.but(target_iter=2, evaluate_every=1), report=events.append)
    assert result.faces == 10
    assert any("none are held out" in event.message for event in events if isinstance(event, Note))
    assert lines(folder)[0]["on"] == "training"
    assert find_best(folder) is None


def test_a_model_is_measured_by_everything_there_is(trained: Workspace) -> None:
    result = evaluate_model(trained, "small", device="cpu")
    assert (result.notes["on"], result.notes["trained_on"]) == ("held_out", False)
    assert result.notes["looked_at"] == {"src": 5, "dst": 5}
    last = lines(trained.model("small"))[-1]
    values = result.notes["values"]
    assert {name: values[name] for name in ("held_src", "held_dst", "ssim_src", "iou_dst")} == pytest.approx(
        {name: last[name] for name in ("held_src", "held_dst", "ssim_src", "iou_dst")}, abs=2e-5
    )
    assert result.notes["gap"] == pytest.approx(
        result.notes["loss"] - (values["train_src"] + values["train_dst"]) / 2, abs=1e-5
    )
    assert json.loads(json.dumps(result.as_json()))["checkpoint"] == "newest"


def test_any_saved_state_can_be_measured(trained: Workspace) -> None:
    best = find_best(trained.model("small"))
    assert best is not None
    found = evaluate_model(trained, "small", checkpoint="best", device="cpu")
    assert found.notes["iteration"] == best.iteration
    assert found.notes["loss"] == pytest.approx(best.loss, abs=2e-5)
    assert evaluate_model(trained, "small", checkpoint=1, device="cpu").notes["iteration"] == 1


def test_a_model_that_learned_from_these_faces_is_called_so(workspace: Workspace, trained: Workspace) -> None:
    """One whose training held nothing out, and one that came from another program."""
    events: list[Event] = []
    folder = workspace.model("small")
    shutil.copytree(trained.model("small"), folder)
    record = read_record(folder)
    bare = type(record)(record.model_class, record.config, {"hold_out": 0.25}, imported_from="SAEHD of old")
    write_record(folder, bare)
    result = evaluate_model(workspace, "small", device="cpu", report=events.append)
    assert result.notes["trained_on"]
    assert any("another program" in event.message for event in events if isinstance(event, Note))


def test_what_cannot_be_measured_is_refused(trained: Workspace) -> None:
    with pytest.raises(MissingModel):
        evaluate_model(trained, "nobody")
    with pytest.raises(IncompatibleModel, match="masks"):
        evaluate_model(trained, "XSeg")
    with pytest.raises(Interrupted):
        evaluate_model(trained, "small", stop=lambda: True)


def test_a_run_is_the_longest_one_of_frames_at_the_usual_distance(workspace: Workspace) -> None:
    for name in ("00004_0.jpg", "00011_0.jpg"):
        (workspace.src.aligned / name).unlink()
    with Catalog.open(workspace.src.aligned) as catalog:
        run = consecutive(catalog.faces())
    assert [face.frame for face in run] == [f"{n:05d}" for n in range(12, 21)]


def test_in_the_number_type_of_the_run_the_numbers_are_those_of_float32(workspace: Workspace) -> None:
    """Training measures in bfloat16 where it computes so, `model evaluate` in float32: losses within 1 %."""
    folder = small_model(workspace)
    train(workspace, "small", WATCHED.but(target_iter=2, precision=PrecisionChoice.BF16, ema_decay=0.9))
    (measured,) = lines(folder)
    exact = evaluate_model(workspace, "small", device="cpu").notes["values"]
    for name in ("held_src", "held_dst", "train_src", "train_dst"):
        assert measured[name] == pytest.approx(exact[name], rel=0.01)
        assert measured[name] != exact[name]
    for name in ("ssim_src", "ssim_dst", "iou_src", "iou_dst"):
        assert measured[name] == pytest.approx(exact[name], abs=0.01)


def test_a_state_is_measured_once(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first iteration for `best`, then by two evaluations, the second of which is also that of the last
    state; training faces are looked at in evaluations only."""
    looks: list[object] = []
    look = HeldOut._redrawn

    def count(self: HeldOut, net: object, sides: object, *more: Any, **how: Any) -> dict[str, float]:
        looks.append(sides)
        return look(self, net, sides, *more, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(HeldOut, "_redrawn", count)
    small_model(workspace)
    train(workspace, "small", WATCHED.but(target_iter=4))
    assert len(looks) == 1 + 2 + 2


def test_a_plateau_counts_only_while_evaluations_are_made(workspace: Workspace) -> None:
    small_model(workspace)
    stuck = WATCHED.but(learning_rate=1e-12, evaluate_every=1, plateau=2)
    assert train(workspace, "small", stuck).notes["ended"] == "plateau"
    told: list[Event] = []
    result = train(workspace, "small", FAST.but(evaluate_every=0, plateau=2, target_iter=5), report=told.append)
    assert (result.notes["ended"], result.notes["iteration"]) == ("target", 5)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_so_few_faces_train_and_are_all_learned_from(tmp_path: Path, count: int) -> None:
    workspace = workspace_with_faces(tmp_path / "few", count)
    folder = small_model(workspace)
    assert train(workspace, "small", FAST.but(hold_out=0.5, target_iter=1, evaluate_every=1)).faces == 2 * count
    (found,) = lines(folder)
    assert found["on"] == "training"
    assert "likeness" not in found
    assert evaluate_model(workspace, "small", device="cpu").notes["trained_on"]


def test_a_best_state_that_cannot_be_kept_ends_nothing(workspace: Workspace) -> None:
    folder = small_model(workspace)
    (folder / "best").write_text("no folder")  # works for every user, where a read-only folder does not stop root
    told: list[Event] = []
    assert train(workspace, "small", WATCHED.but(target_iter=2), report=told.append).notes["iteration"] == 2
    assert any(isinstance(event, Note) and "could not be kept" in event.message for event in told)
