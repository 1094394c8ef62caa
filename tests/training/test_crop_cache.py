"""Crops kept between runs: nothing is made twice, changed faces are, and damage is noticed and mended."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

import disks
from small_faces import workspace_with_faces
from understudy.errors import Interrupted, WorkspaceError
from understudy.facesets import Catalog, FaceEntry
from understudy.records import FaceType
from understudy.report import Event, Note, Progress, Report, silent
from understudy.training.faces import bank_maker
from understudy.training.faces.bank import FaceBank
from understudy.workspace import Workspace

COUNT = 6


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_with_faces(tmp_path, COUNT)


def entries(workspace: Workspace) -> list[FaceEntry]:
    with Catalog.open(workspace.src.aligned, cache=workspace.catalogs) as catalog:
        return catalog.faces()


def load(
    workspace: Workspace, *, size: int = 32, budget: int = 10**9, report: Report = silent, **more: object
) -> tuple[FaceBank, int]:
    """The src faces, and how many of them were decoded for it."""
    events: list[Event] = []

    def keep(event: Event) -> None:
        events.append(event)
        report(event)

    faces = entries(workspace)
    bank = FaceBank.load(
        faces,
        size=size,
        face_type=FaceType.FULL,
        faceset=workspace.src.aligned,
        caches=workspace.crops,
        budget=budget,
        find=lambda key: next((face for face in faces if face.key == key), None),
        report=keep,
        **more,  # type: ignore[arg-type]
    )
    return bank, max((event.done for event in events if isinstance(event, Progress)), default=0)


def touched(path: Path) -> None:
    """A file with other bytes at another time, as a mask that is applied leaves it."""
    stat = path.stat()
    with path.open("ab") as handle:
        handle.write(b"\0")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


def test_the_next_run_decodes_nothing_and_has_the_same_crops(workspace: Workspace) -> None:
    first, made = load(workspace)
    again, made_again = load(workspace)
    assert (made, made_again) == (COUNT, 0)
    assert again.crops.held == 0  # nothing is read before it is drawn
    np.testing.assert_array_equal(first.pixels, again.pixels)
    np.testing.assert_array_equal(first.yaws, again.yaws)
    assert first.names == again.names
    assert again.crops.held == COUNT


def test_beyond_the_budget_crops_are_read_from_disk_each_time(workspace: Workspace) -> None:
    whole, _ = load(workspace)
    small, _ = load(workspace, budget=2 * 32 * 32 * 4)
    for _ in range(2):
        np.testing.assert_array_equal(small.pixels, whole.pixels)
    assert small.crops.held == 2


def test_only_changed_faces_are_decoded_and_renamed_ones_are_known(workspace: Workspace) -> None:
    load(workspace)
    folder = workspace.src.aligned
    touched(folder / "00002_0.jpg")
    (folder / "00003_0.jpg").rename(folder / "zz.jpg")
    (folder / "00004_0.jpg").unlink()
    bank, made = load(workspace)
    assert made == 1
    assert bank.names == ("00001_0.jpg", "00002_0.jpg", "00005_0.jpg", "00006_0.jpg", "zz.jpg")


def test_a_bank_is_brought_up_to_date_and_says_what_is_other(workspace: Workspace) -> None:
    bank, _ = load(workspace)
    folder = workspace.src.aligned
    touched(folder / "00002_0.jpg")
    (folder / "00003_0.jpg").rename(folder / "zz.jpg")
    (folder / "00004_0.jpg").unlink()
    (folder / "new.jpg").write_bytes((folder / "00001_0.jpg").read_bytes())
    new, changes = bank.updated(entries(workspace))
    assert changes._asdict() == {"added": 1, "changed": 1, "removed": 1, "renamed": 1}
    fresh, _ = load(workspace)
    assert new.names == fresh.names
    np.testing.assert_array_equal(new.pixels, fresh.pixels)
    assert len(bank.pixels) == COUNT  # the old one stands


def test_a_damaged_crop_is_made_again_and_mended(workspace: Workspace) -> None:
    whole, _ = load(workspace)
    (crops,) = workspace.crops.rglob("crops-*.bin")
    body = bytearray(crops.read_bytes())
    body[5000:5010] = b"\0" * 10
    crops.write_bytes(body[: -32 * 32 * 4 - 7])  # and the last two are cut short
    again, made = load(workspace)
    assert made == 0
    np.testing.assert_array_equal(again.pixels, whole.pixels)
    third, _ = load(workspace)
    np.testing.assert_array_equal(third.pixels, whole.pixels)
    assert crops.stat().st_size == COUNT * 32 * 32 * 4


@pytest.mark.parametrize("damage", ["garbage", "gone"])
def test_a_damaged_or_missing_index_is_made_anew(workspace: Workspace, damage: str) -> None:
    whole, _ = load(workspace)
    (index,) = workspace.crops.rglob("index.sqlite")
    index.write_bytes(b"no index" * 1000) if damage == "garbage" else index.unlink()
    again, made = load(workspace)
    assert made == COUNT
    np.testing.assert_array_equal(again.pixels, whole.pixels)


def test_what_was_made_is_kept_when_loading_is_stopped(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bank_maker, "FLUSH_EVERY", 1)
    calls = iter([False, False, False, True])
    with pytest.raises(Interrupted):
        load(workspace, stop=lambda: next(calls))
    _, made = load(workspace)
    assert made == COUNT - 3


def test_a_cache_of_faces_that_are_gone_shrinks(workspace: Workspace) -> None:
    load(workspace)
    for number in range(2, COUNT + 1):
        (workspace.src.aligned / f"{number:05d}_0.jpg").unlink()
    (workspace.src.aligned / "new.jpg").write_bytes((workspace.src.aligned / "00001_0.jpg").read_bytes() + b"\0")
    bank, made = load(workspace)
    assert (len(bank), made) == (2, 1)
    (crops,) = workspace.crops.rglob("crops-*.bin")
    assert crops.stat().st_size == 2 * 32 * 32 * 4


def test_a_cache_that_takes_nothing_more_is_read_as_before_and_not_written_into(workspace: Workspace) -> None:
    """What is new stays in memory, as far as that goes; the crops of others must not be written over."""
    whole, _ = load(workspace)
    for index in workspace.crops.rglob("index.sqlite"):
        with contextlib.closing(sqlite3.connect(index)) as database, database:
            database.execute("delete from crops where place in (1, 2, 3)")  # so places and numbers of crops differ
            database.execute("create trigger full before insert on crops begin select raise(abort, 'full'); end")
    told: list[Event] = []
    again, _ = load(workspace, report=told.append)
    np.testing.assert_array_equal(again.pixels, whole.pixels)
    assert [event.message for event in told if isinstance(event, Note)] == [
        "The cache of faces that are ready cannot be used: full. Faces are kept in memory instead."
    ]
    with pytest.raises(WorkspaceError, match="cannot be used: full"):
        load(workspace, budget=2 * 32 * 32 * 4)


def test_a_cache_that_another_training_moved_is_not_written_into(workspace: Workspace) -> None:
    whole, _ = load(workspace)
    bank, _ = load(workspace)
    for number in range(3, COUNT + 1):
        (workspace.src.aligned / f"{number:05d}_0.jpg").unlink()
    other, _ = load(workspace)  # makes it smaller
    (workspace.src.aligned / "new.jpg").write_bytes((workspace.src.aligned / "00001_0.jpg").read_bytes() + b"\0")
    new, changes = bank.updated(entries(workspace))
    assert changes.added == 1
    np.testing.assert_array_equal(new.pixels[:2], other.pixels)
    np.testing.assert_array_equal(bank.pixels, whole.pixels)
    _, made = load(workspace)
    assert made == 1, "what the first could not keep"


def test_on_a_full_disk_a_cache_that_has_everything_is_used(tmp_path: Path) -> None:
    with disks.small_disk(mib=4) as disk:
        workspace = workspace_with_faces(disk / "shot", COUNT)
        whole, _ = load(workspace)
        for number in (4, 5, 6):
            (workspace.src.aligned / f"{number:05d}_0.jpg").unlink()
        (workspace.src.aligned / "00003_0.jpg").unlink()
        disks.fill(disk)
        again, made = load(workspace)  # would be made smaller, for which there is no room
        assert made == 0
        np.testing.assert_array_equal(again.pixels, whole.pixels[:2])


def test_where_no_cache_can_be_crops_stay_in_memory(workspace: Workspace) -> None:
    workspace.crops.parent.mkdir(exist_ok=True)
    workspace.crops.write_text("in the way")
    bank, made = load(workspace)
    assert (made, bank.crops.held) == (COUNT, COUNT)
