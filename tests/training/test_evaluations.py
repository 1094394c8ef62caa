"""Evaluations on disk, the plateau that is read off them, and the picture of their course."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from understudy.training.measuring import evaluations
from understudy.training.measuring.evaluation_curve import draw_evaluations
from understudy.training.measuring.evaluations import Evaluations
from understudy.training.measuring.plateau import at_plateau, course_of, without_gain
from understudy.training.measuring.scores import Faces, Scores


def scores(iteration: int, loss: float = 1.0, course: str = "a", **more: float) -> Scores:
    values = {"held_src": loss, "held_dst": loss + 0.2, "train_src": loss - 0.1, "train_dst": loss, **more}
    return Scores(iteration, values, Faces.HELD_OUT, course)


def course(*losses: float, name: str = "a") -> list[Scores]:
    return [scores(100 * (k + 1), loss, name) for k, loss in enumerate(losses)]


def test_loss_and_gap_are_means_of_both_people() -> None:
    assert scores(1, 1.0).loss == pytest.approx(1.1)
    assert scores(1, 1.0).gap == pytest.approx(0.15)


def test_where_one_side_holds_nothing_out_the_other_counts() -> None:
    half = Scores(1, {"held_dst": 2.0, "train_src": 1.0, "train_dst": 1.5})
    assert (half.loss, half.gap) == (2.0, 0.5)
    none = Scores(1, {"train_src": 1.0, "train_dst": 2.0}, Faces.TRAINING)
    assert (none.loss, none.gap) == (1.5, None)


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    written = Evaluations.open(tmp_path / "e.jsonl", until=0)
    for one in course(1, 0.9, 0.8):
        written.append(one)
    read = Evaluations.read(tmp_path / "e.jsonl")
    assert list(read) == list(written)
    assert read.newest == written.newest
    assert read.values("held_src") == ([100, 200, 300], [1, 0.9, 0.8])
    assert read.values("likeness") == ([], [])


def test_a_resumed_training_measures_again_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "e.jsonl"
    whole = Evaluations(path)
    for one in course(1, 0.9, 0.8):
        whole.append(one)
    before = path.read_bytes()
    path.write_bytes(before + b'{"iteration": 400, "on"')
    resumed = Evaluations.open(path, until=250)
    assert [one.iteration for one in resumed] == [100, 200]
    resumed.append(scores(300, 0.8))
    assert path.read_bytes() == before


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluations, "MOST", 20)
    kept = Evaluations(tmp_path / "e.jsonl")
    for iteration in range(1, 101):
        kept.append(scores(iteration))
    assert len(kept) <= 20
    assert [one.iteration for one in kept][-10:] == list(range(91, 101))
    assert list(Evaluations.read(tmp_path / "e.jsonl")) == list(kept)


def test_numbers_that_are_none_are_no_evaluation() -> None:
    assert Scores.from_json(Scores(1, {"held_src": float("nan"), "held_dst": 1.0}).as_json()) is None
    assert Scores.from_json({"iteration": 3}) is None
    whole = Scores(1, {"held_src": 1.0, "held_dst": 1.0}).as_json()
    for spoiled in ({"iteration": float("inf")}, {"held_src": 10**400}, {"held_src": []}, {"on": []}):
        assert Scores.from_json({**whole, **spoiled}) is None


def test_a_plateau_is_so_many_evaluations_without_a_better_one() -> None:
    falling = course(1, 0.9, 0.8, 0.7)
    assert without_gain(falling, "a") == 0
    flat = course(1, 0.7, 0.8, 0.75, 0.71)
    assert without_gain(flat, "a") == 3
    assert at_plateau(flat, "a", 3)
    assert not at_plateau(flat, "a", 4)
    assert not at_plateau(flat, "a", 0)


def test_slow_gains_add_up() -> None:
    assert without_gain(course(*(1 - 0.0007 * k for k in range(40))), "a") < 4
    assert without_gain(course(*(1 - 0.00001 * k for k in range(40))), "a") == 39


def test_another_way_of_training_is_measured_by_itself() -> None:
    """After a phase whose loss was lower, one with a GAN would otherwise end at once."""
    both = [*course(0.5, 0.4), *(scores(k, 0.6, "b") for k in (300, 400, 500))]
    assert without_gain(both, "b") == 2
    assert without_gain(both, "c") == 0
    elsewhere = {"target_iter": 5, "save_minutes": 1, "cache_gb": 2, "keep_backups": 1}
    assert course_of({"gan_power": 0.1, **elsewhere}) == course_of({"gan_power": 0.1})
    assert course_of({"gan_power": 0.1}) != course_of({"gan_power": 0.2})


def test_the_course_is_drawn(tmp_path: Path) -> None:
    measured = Evaluations(tmp_path / "e.jsonl")
    for iteration in range(1, 9):
        measured.append(scores(iteration * 500, 2 / iteration, ssim_src=0.5, ssim_dst=0.6, likeness=iteration / 8))
    path = draw_evaluations(measured, tmp_path / "curve.png")
    with Image.open(path) as picture:
        assert picture.size == (1200, 800)
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20
    assert draw_evaluations(Evaluations(tmp_path / "none"), tmp_path / "empty.png").is_file()
