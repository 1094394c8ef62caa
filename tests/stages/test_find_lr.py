"""The learning-rate finder: what it sees, and that the model stays as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from small_faces import small_model, workspace_with_faces
from understudy.errors import Interrupted, InvalidOption, MissingModel
from understudy.records import PrecisionChoice
from understudy.report import Event, Progress
from understudy.stages.find_lr import PICTURE, find_lr
from understudy.stages.train import train
from understudy.training.learning.lr_finder import LrCurve
from understudy.training.options import TrainOptions
from understudy.training.saved.models import read_record, write_record
from understudy.workspace import Workspace

FAST = TrainOptions(batch_size=2, precision=PrecisionChoice.FP32, threads=1, preview_every=0, evaluate_every=0)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_with_faces(tmp_path / "shot")


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_rates_are_tried_on_a_copy_and_the_model_stays_as_it_was(workspace: Workspace) -> None:
    small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=3, ema_decay=0.9))
    before = contents(workspace.models)
    result = find_lr(workspace, "small", optimiser="lion", first=1e-6, last=1.0, steps=40)
    after = contents(workspace.models)
    assert after.pop(f"small/{PICTURE}")
    assert after == before
    notes = result.notes
    assert (notes["model"], notes["iteration"], notes["optimiser"]) == ("small", 3, "lion")
    assert notes["rates"][0] == 1e-6
    assert 1e-7 <= notes["suggested"] <= 0.1
    assert notes["suggested"] == pytest.approx(notes["lowest"] / 10, rel=0.06)
    assert len(notes["rates"]) == len(notes["losses"]) >= 20


def test_a_model_that_was_never_trained_has_a_curve_too(workspace: Workspace) -> None:
    folder = small_model(workspace)
    record = read_record(folder)
    write_record(folder, record.with_options({**record.options, "batch_size": 2, "precision": "fp32", "threads": 1}))
    assert find_lr(workspace, "small", steps=20).notes["iteration"] == 0


def test_a_killed_one_leaves_nothing_for_long(workspace: Workspace) -> None:
    small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=1))
    left_over = workspace.models / ".tmp-0123abcd-find-lr-small" / "small"
    left_over.mkdir(parents=True)
    find_lr(workspace, "small", steps=20)
    assert [path.name for path in workspace.models.iterdir()] == ["small"]


def test_interrupted_it_leaves_the_model_as_it_was(workspace: Workspace) -> None:
    small_model(workspace)
    train(workspace, "small", FAST.but(target_iter=1))
    before = contents(workspace.models)
    events: list[Event] = []

    def stop() -> bool:
        return any(isinstance(event, Progress) and event.step == "Trying rates" for event in events)

    with pytest.raises(Interrupted):
        find_lr(workspace, "small", steps=20, report=events.append, stop=stop)
    assert contents(workspace.models) == before


def test_what_makes_no_curve_is_refused(workspace: Workspace) -> None:
    with pytest.raises(MissingModel):
        find_lr(workspace, "nobody")
    with pytest.raises(InvalidOption, match="make no curve"):
        find_lr(workspace, "small", first=1e-3, last=1e-4)


def test_the_suggestion_has_room_to_spare() -> None:
    """A tenth of where the loss is lowest; where it falls fastest lies before that."""
    rates = tuple(10 ** (step / 10 - 6) for step in range(41))
    losses = tuple([5.0] * 10 + [5 - 0.1 * step for step in range(15)] + [3.5] + [4 + step for step in range(15)])
    curve = LrCurve(rates, losses)
    assert curve.lowest == rates[25]
    assert curve.suggested == pytest.approx(rates[25] / 10, rel=0.05)
    assert rates[10] < curve.steepest < curve.lowest
