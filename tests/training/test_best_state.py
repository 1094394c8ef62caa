"""The best saved state: found, replaced by better ones only, never half there, and chosen by name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from understudy.errors import CorruptCheckpoint, MissingModel, UsageError
from understudy.training.saved.best import find_best, keep_if_best
from understudy.training.saved.checkpoints import CheckpointStore, load_generation
from understudy.training.saved.choosing import read_state
from understudy.training.saved.manifests import WEIGHTS


def saved(model: Path, iteration: int, keep: int = 3) -> Path:
    store = CheckpointStore(model, keep=keep)
    return store.save(iteration, weights={"w": torch.full((50,), float(iteration))}, optimiser=None, state={})


def test_the_state_with_the_least_loss_is_kept_when_newer_ones_push_it_out(tmp_path: Path) -> None:
    for iteration, loss in ((1, 3.0), (2, 1.0), (3, 2.0), (4, 2.5), (5, 1.5), (6, 1.2)):
        assert keep_if_best(tmp_path, saved(tmp_path, iteration), loss, "faces") is (loss in (3.0, 1.0))
    best = find_best(tmp_path)
    assert best is not None
    assert (best.iteration, best.loss) == (2, 1.0)
    assert [path.name for path in sorted((tmp_path / "checkpoints").iterdir())] == [f"{n:09d}" for n in (4, 5, 6)]
    assert float(load_generation(best.folder).weights["w"][0]) == 2
    assert len(list((tmp_path / "best").iterdir())) == 1


def test_it_takes_no_room_of_its_own(tmp_path: Path) -> None:
    generation = saved(tmp_path, 1)
    keep_if_best(tmp_path, generation, 1.0, "faces")
    assert (generation / WEIGHTS).samefile(tmp_path / "best" / generation.name / WEIGHTS)


def test_a_disk_without_links_gets_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(source: object, target: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    keep_if_best(tmp_path, saved(tmp_path, 7), 1.0, "faces")
    best = find_best(tmp_path)
    assert best is not None
    assert float(load_generation(best.folder).weights["w"][0]) == 7


def test_losses_on_other_faces_do_not_compare(tmp_path: Path) -> None:
    keep_if_best(tmp_path, saved(tmp_path, 1), 0.5, "faces")
    assert keep_if_best(tmp_path, saved(tmp_path, 2), 0.9, "other faces")
    best = find_best(tmp_path)
    assert best is not None
    assert best.iteration == 2


def test_a_crash_between_two_best_states_leaves_the_better_one(tmp_path: Path) -> None:
    keep_if_best(tmp_path, saved(tmp_path, 1), 0.9, "faces")
    (tmp_path / "best" / "000000001").rename(tmp_path / "aside")
    keep_if_best(tmp_path, saved(tmp_path, 2), 0.5, "faces")
    (tmp_path / "aside").rename(tmp_path / "best" / "000000001")
    best = find_best(tmp_path)
    assert best is not None
    assert best.iteration == 2


def test_states_are_read_by_name(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    with pytest.raises(MissingModel, match="not been trained"):
        read_state(store, "newest", load_generation)
    for iteration, loss in ((1, 0.5), (2, 0.9)):
        keep_if_best(tmp_path, saved(tmp_path, iteration), loss, "faces")
    assert read_state(store, "newest", load_generation).iteration == 2
    assert read_state(store, "best", load_generation).iteration == 1
    assert read_state(store, "1", load_generation).iteration == 1
    with pytest.raises(MissingModel, match="iteration 8") as caught:
        read_state(store, "8", load_generation)
    assert "1, 2" in caught.value.hint
    with pytest.raises(UsageError, match="'finest'"):
        read_state(store, "finest", load_generation)


def test_no_best_state_is_said_so(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    with pytest.raises(MissingModel, match="No best state") as caught:
        read_state(CheckpointStore(tmp_path), "best", load_generation)
    assert "--hold-out" in caught.value.hint


def test_a_damaged_best_state_is_an_error_and_not_another_state(tmp_path: Path) -> None:
    keep_if_best(tmp_path, saved(tmp_path, 1), 0.5, "faces")
    saved(tmp_path, 2)
    weights = tmp_path / "best" / "000000001" / WEIGHTS
    weights.unlink()
    with pytest.raises(CorruptCheckpoint, match="000000001"):
        read_state(CheckpointStore(tmp_path), "best", load_generation)


def test_the_best_state_is_a_last_resort_for_the_newest(tmp_path: Path) -> None:
    keep_if_best(tmp_path, saved(tmp_path, 4), 0.5, "faces")
    for item in (tmp_path / "checkpoints").iterdir():
        (item / "manifest.json").unlink()
    found = CheckpointStore(tmp_path).newest()
    assert found is not None
    assert found.iteration == 4
