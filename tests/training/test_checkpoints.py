"""Saved states: whole or absent, checked when read, and never lost by what happens to a later one."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

import disks
from understudy.errors import CorruptCheckpoint, DiskFull, IncompatibleModel, TrainingDiverged
from understudy.report import Event, Note
from understudy.training.saved.checkpoints import SET_ASIDE_KEPT, CheckpointStore
from understudy.training.saved.manifests import MANIFEST, OPTIMISER, STATE, WEIGHTS


def tensors(seed: int, count: int = 1000) -> dict[str, torch.Tensor]:
    return {
        "layer.weight": torch.randn(count, generator=torch.Generator().manual_seed(seed)),
        "layer.bias": torch.ones(3),
    }


def save(store: CheckpointStore, iteration: int) -> Path:
    state = {"seen": iteration, "random": np.arange(5, dtype=np.uint8), "nested": [1, {"a": (2.5, None)}]}
    return store.save(iteration, weights=tensors(iteration), optimiser=tensors(-iteration), state=state)


def test_a_saved_state_comes_back_exactly(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 12)
    found = store.newest()
    assert found is not None
    assert found.iteration == 12
    for got, expected in ((found.weights, tensors(12)), (found.optimiser, tensors(-12))):
        assert got is not None
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[name], expected[name]) for name in expected)
    assert found.state["seen"] == 12
    assert found.state["nested"] == [1, {"a": [2.5, None]}]
    np.testing.assert_array_equal(found.state["random"], np.arange(5, dtype=np.uint8))
    assert found.state["random"].dtype == np.uint8


def test_nothing_saved_is_no_error(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path).newest() is None


def test_only_the_newest_generations_stay(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=2)
    for iteration in (1, 2, 9, 10):
        save(store, iteration)
    assert [path.name for path in store.generations()] == ["000000010", "000000009"]


@pytest.mark.parametrize("name", [WEIGHTS, OPTIMISER, STATE, MANIFEST])
@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_a_damaged_state_is_passed_over_and_named(tmp_path: Path, name: str, damage: str) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 10)
    target = save(store, 20) / name
    if damage == "flip":
        data = bytearray(target.read_bytes())
        data[len(data) // 2] ^= 1
        target.write_bytes(data)
    elif damage == "cut":
        os.truncate(target, target.stat().st_size // 2)
    else:
        target.unlink()
    events: list[Event] = []
    found = store.newest(events.append)
    assert found is not None
    assert found.iteration == 10
    notes = [event for event in events if isinstance(event, Note)]
    assert len(notes) == 1
    assert notes[0].level == "warning"
    assert "000000020" in notes[0].message


def test_when_no_state_is_whole_the_error_says_so(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    (save(store, 10) / WEIGHTS).write_bytes(b"")
    with pytest.raises(CorruptCheckpoint, match="None of the 1"):
        store.newest()


def test_reading_weights_alone_does_not_need_the_optimiser(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    (save(store, 10) / OPTIMISER).unlink()
    found = store.newest(optimiser=False)
    assert found is not None
    assert found.optimiser is None


def test_weights_that_are_no_numbers_are_never_saved(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    with pytest.raises(TrainingDiverged, match=r"layer\.bias"):
        store.save(5, weights={**tensors(0), "layer.bias": torch.tensor([1.0, float("nan")])}, optimiser=None, state={})
    assert store.generations() == []


def test_a_backup_outlives_the_turn_of_the_newest(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1)
    store.back_up(save(store, 10))
    for iteration in (11, 12):
        save(store, iteration)
    assert [path.name for path in store.generations()] == ["000000012", "000000010"]
    shutil.rmtree(store.folder)
    found = store.newest()
    assert found is not None
    assert found.iteration == 10


def test_the_oldest_backups_go(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, keep=1, backups_kept=2)
    for iteration in (1, 2, 3):
        store.back_up(save(store, iteration))
    assert sorted(path.name for path in store.backups.iterdir()) == ["000000002", "000000003"]


def test_unfinished_writes_are_not_seen_and_swept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path)
    generation = save(store, 10)
    shutil.copytree(generation, store.folder / ".tmp-12345678-000000020")
    for name in (".tmp-12345678-model.json", "previews/SAEHD/.tmp-12345678-_last.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("half")
    assert store.newest_iteration() == 10
    store.tidy()
    assert [path.name for path in store.folder.iterdir()] == ["000000010"]
    assert not list(tmp_path.rglob(".tmp-*"))


def test_later_states_that_were_not_whole_make_room(tmp_path: Path) -> None:
    """Otherwise the training that fell back to 10 could not publish its own 20."""
    store = CheckpointStore(tmp_path)
    save(store, 10)
    (save(store, 20) / WEIGHTS).write_bytes(b"")
    assert [path.name[:9] for path in store.set_aside_after(10)] == ["000000020"]
    save(store, 20)
    found = store.newest()
    assert found is not None
    assert found.iteration == 20


def newer(generation: Path) -> None:
    """Let a saved state say that a later version of understudy wrote it."""
    manifest = generation / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": 99}))


def test_a_state_of_a_newer_version_is_refused_and_nothing_older_takes_its_place(tmp_path: Path) -> None:
    """It is whole: passed over, training would put it aside as damaged and go on from an old one."""
    store = CheckpointStore(tmp_path)
    save(store, 10)
    newer(save(store, 20))
    with pytest.raises(IncompatibleModel, match="newer version"):
        store.newest()
    assert [path.name for path in store.generations()] == ["000000020", "000000010"]


@pytest.mark.parametrize("version", [None, "new", []])
def test_a_manifest_without_a_readable_version_is_damaged(tmp_path: Path, version: object) -> None:
    store = CheckpointStore(tmp_path)
    save(store, 10)
    manifest = save(store, 20) / MANIFEST
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "version": version}))
    found = store.newest()
    assert found is not None
    assert found.iteration == 10


def test_what_was_set_aside_stays_within_bounds_and_goes_first_when_the_disk_is_full(small_disk: Path) -> None:
    store = CheckpointStore(small_disk, keep=5)
    for _ in range(SET_ASIDE_KEPT + 2):
        save(store, 20)
        store.set_aside_after(10)
    assert len(list(store.damaged.iterdir())) == SET_ASIDE_KEPT
    big = {"weight": torch.zeros(200_000)}  # 800 kB
    store.save(30, weights=big, optimiser=None, state={})
    store.set_aside_after(10)
    for iteration in (40, 41):
        store.save(iteration, weights=big, optimiser=None, state={})
    assert [path.name for path in store.generations()] == ["000000041", "000000040"]
    assert not list(store.damaged.iterdir())


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A disk of 2 MB."""
    with disks.small_disk(mib=2) as folder:
        yield folder


def test_on_a_full_disk_older_states_make_room_and_the_newest_stays(small_disk: Path) -> None:
    store = CheckpointStore(small_disk, keep=5)
    big = {"weight": torch.zeros(150_000)}  # 600 kB: three fit
    for iteration in (1, 2, 3, 4, 5):
        store.save(iteration, weights=big, optimiser=None, state={})
    found = store.newest()
    assert found is not None
    assert found.iteration == 5
    with pytest.raises(DiskFull) as caught:
        store.save(6, weights={"weight": torch.zeros(400_000)}, optimiser=None, state={})
    assert caught.value.hint
    found = store.newest()
    assert found is not None
    assert found.iteration == 5
    assert not [path for path in store.folder.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(os.name == "nt", reason="permissions of that kind are not Windows's")
def test_every_file_has_the_permissions_of_any_other_file(tmp_path: Path) -> None:
    """A merge may run as another user than the training."""
    ordinary = tmp_path / "ordinary"
    ordinary.touch()
    folder = save(CheckpointStore(tmp_path), 1)
    assert {path.stat().st_mode for path in folder.iterdir()} == {ordinary.stat().st_mode}


def test_a_reader_looks_again_when_a_state_is_let_go_under_its_eyes(tmp_path: Path) -> None:
    """A merge that reads while training saves must not call a state damaged that was only old."""

    class Racing(CheckpointStore):
        """At the first look, training saves the next state and drops the one that was listed."""

        def generations(self) -> list[Path]:
            found = super().generations()
            if [path.name for path in found] == ["000000010"]:
                save(CheckpointStore(self.model_folder, keep=1), 20)
            return found

    save(CheckpointStore(tmp_path), 10)
    events: list[Event] = []
    found = Racing(tmp_path).newest(events.append)
    assert found is not None
    assert found.iteration == 20
    assert events == []
