"""A saved state read tensor by tensor, and what it does when files are not what they were."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from understudy.errors import CorruptCheckpoint, MissingModel
from understudy.report import Event, Note
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.open_state import open_newest


def saved(folder: Path, iteration: int = 3) -> CheckpointStore:
    store = CheckpointStore(folder)
    weights = {"a.weight": torch.arange(6.0).reshape(2, 3) + iteration, "b.bias": torch.tensor([1.5])}
    moments = {"first.a.weight": torch.ones(2, 3), "iterations": torch.tensor(9), "generator": torch.arange(3).byte()}
    store.save(iteration, weights=weights, optimiser=moments, state={"iteration": iteration, "draw": np.arange(3)})
    return store


def test_tensors_come_as_they_were_saved(tmp_path: Path) -> None:
    with open_newest(saved(tmp_path)) as state:
        assert state.iteration == 3
        assert state.weights.shapes == {"a.weight": (2, 3), "b.bias": (1,)}
        np.testing.assert_array_equal(state.weights.read("a.weight"), [[3, 4, 5], [6, 7, 8]])
        assert state.optimiser is not None
        assert int(state.optimiser.read("iterations")) == 9
        assert state.optimiser.read("generator").dtype == np.uint8
        np.testing.assert_array_equal(state.state["draw"], [0, 1, 2])
        assert "a.weight" in state.weights
        assert state.size_bytes >= 4 * 14


def test_it_stays_readable_when_the_state_is_let_go(tmp_path: Path) -> None:
    store = saved(tmp_path)
    with open_newest(store) as state:
        shutil.rmtree(state.folder)
        np.testing.assert_array_equal(state.weights.read("b.bias"), [1.5])


def test_a_damaged_state_is_passed_over_by_name(tmp_path: Path) -> None:
    saved(tmp_path, 3)
    store = saved(tmp_path, 5)
    path = tmp_path / "checkpoints" / "000000005" / "optimiser.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    events: list[Event] = []
    with open_newest(store, events.append) as state:
        assert state.iteration == 3
    (note,) = [event for event in events if isinstance(event, Note)]
    assert "optimiser.safetensors" in note.message
    shutil.rmtree(tmp_path / "checkpoints" / "000000003")
    with pytest.raises(CorruptCheckpoint, match="None of the 1"), open_newest(store):
        pass


def test_nothing_was_saved(tmp_path: Path) -> None:
    with pytest.raises(MissingModel, match="not been trained yet"), open_newest(CheckpointStore(tmp_path)):
        pass
