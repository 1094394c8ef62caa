"""Renames of many files: all or none, whatever kills or hinders them, and back again."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from disks import fill, small_disk
from understudy.errors import DiskFull, FacesetError, Interrupted, ReadOnlyWorkspace, UnsafeFile, UsageError
from understudy.facesets import change_journal, change_run, changes
from understudy.facesets.changes import Change, Move, apply, recover, undo_last
from understudy.records import Skipped
from understudy.report import Progress
from users import ordinary_user

Contents = dict[str, str]


class Faces:
    """A workspace's src faces, each file holding the name it began with."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.aligned = root / "data_src" / "aligned"
        self.trash = root / "data_src" / "aligned_trash"
        self.journals = root / ".understudy" / "changes" / "src"
        self.aligned.mkdir(parents=True)
        for index in range(count):
            name = f"{index + 1:05d}_0.jpg"
            (self.aligned / name).write_text(name)

    def contents(self) -> Contents:
        """Path from the root → what the file holds; everything but the journals."""
        found = sorted(self.root.glob("data_src/*/*"))
        return {path.relative_to(self.root).as_posix(): path.read_text() for path in found}

    def shuffled(self, seed: int, *, trashed: int = 0) -> list[Move]:
        """All files under the names 00000.jpg … in another order; the last ones go to the trash."""
        paths = sorted(self.aligned.iterdir())
        random.Random(seed).shuffle(paths)
        kept, rest = paths[: len(paths) - trashed], paths[len(paths) - trashed :]
        moves = [Move(path, self.aligned / f"{index:05d}.jpg") for index, path in enumerate(kept)]
        return moves + [Move(path, self.trash / path.name) for path in rest]

    def apply(self, moves: list[Move], **more: object) -> Change:
        return apply(moves, title="Sorted", journal_folder=self.journals, **more)  # type: ignore[arg-type]


@pytest.fixture
def faces(tmp_path: Path) -> Faces:
    return Faces(tmp_path, 12)


def expected(before: Contents, root: Path, moves: list[Move]) -> Contents:
    made = dict(before)
    for move in moves:
        made.pop(move.old.relative_to(root).as_posix(), None)
    for move in moves:
        made[move.new.relative_to(root).as_posix()] = before[move.old.relative_to(root).as_posix()]
    return dict(sorted(made.items()))


def impatient(patience: int) -> Callable[[], bool]:
    """A stop that turns true when it has been asked so often."""
    asked = iter(range(10_000))
    return lambda: next(asked) >= patience


def test_any_permutation_and_the_trash_and_back_again(faces: Faces) -> None:
    states = [faces.contents()]
    for seed in range(4):
        moves = faces.shuffled(seed, trashed=1)
        change = faces.apply(moves)
        assert faces.contents() == expected(states[-1], faces.root, moves)
        assert change.skipped == ()
        states.append(faces.contents())
    assert [change.title for change in changes.changes(faces.journals)] == ["Sorted"] * 4
    for state in reversed(states[:-1]):
        undo_last(faces.journals)
        assert faces.contents() == state
    with pytest.raises(UsageError, match="no change"):
        undo_last(faces.journals)


def test_the_moves_are_given_as_the_catalog_takes_them(faces: Faces) -> None:
    (faces.aligned / "anna").mkdir()
    (faces.aligned / "anna" / "1.jpg").write_text("1")
    moves = [
        Move(faces.aligned / "00001_0.jpg", faces.trash / "00001_0.jpg"),
        Move(faces.aligned / "anna" / "1.jpg", faces.aligned / "ben" / "2.jpg"),
    ]
    change = faces.apply(moves)
    assert change.moves == tuple(moves)
    assert change.keys(faces.aligned) == [("anna/1.jpg", "ben/2.jpg")]
    assert undo_last(faces.journals).keys(faces.aligned) == [("ben/2.jpg", "anna/1.jpg")]


def test_nothing_is_overwritten(faces: Faces) -> None:
    """A name that is taken, by a stranger or by another face of the same change, is not taken again."""
    faces.trash.mkdir()
    (faces.trash / "00001_0.jpg").write_text("an earlier one")
    stranger = faces.aligned / "notes.jpg"
    stranger.write_text("a stranger")
    moves = [
        Move(faces.aligned / "00001_0.jpg", faces.trash / "00001_0.jpg"),
        Move(faces.aligned / "00002_0.jpg", stranger),
        Move(faces.aligned / "00003_0.jpg", faces.aligned / "same.jpg"),
        Move(faces.aligned / "00004_0.jpg", faces.aligned / "same.jpg"),
    ]
    before = faces.contents()
    faces.apply(moves)
    after = faces.contents()
    assert sorted(after.values()) == sorted(before.values())
    assert (after["data_src/aligned/notes.jpg"], after["data_src/aligned/notes_2.jpg"]) == ("a stranger", "00002_0.jpg")
    assert after["data_src/aligned_trash/00001_0_2.jpg"] == "00001_0.jpg"
    assert (after["data_src/aligned/same.jpg"], after["data_src/aligned/same_2.jpg"]) == ("00003_0.jpg", "00004_0.jpg")
    undo_last(faces.journals)
    assert faces.contents() == before


def test_names_that_differ_in_case_alone_do_not_meet(faces: Faces) -> None:
    """On Windows and macOS they are one name."""
    for index, name in enumerate(("A.jpg", "B.jpg")):
        (faces.aligned / f"{index + 1:05d}_0.jpg").rename(faces.aligned / name)
    moves = [
        Move(faces.aligned / "A.jpg", faces.aligned / "b.jpg"),
        Move(faces.aligned / "B.jpg", faces.aligned / "a.jpg"),
    ]
    faces.apply(moves)
    after = faces.contents()
    assert (after["data_src/aligned/b.jpg"], after["data_src/aligned/a.jpg"]) == ("00001_0.jpg", "00002_0.jpg")


def test_names_cannot_leave_the_workspace(faces: Faces) -> None:
    before = faces.contents()
    for path in (faces.root.parent / "out.jpg", faces.aligned / ".." / ".." / ".." / "out.jpg"):
        with pytest.raises(UnsafeFile):
            faces.apply([Move(faces.aligned / "00001_0.jpg", path)])
    with pytest.raises(UnsafeFile):
        faces.apply([Move(faces.aligned / "00001_0.jpg", faces.trash / "a.jpg")], roots=[faces.aligned])
    assert faces.contents() == before


def test_a_record_made_elsewhere_cannot_move_files_out_of_the_workspace(faces: Faces) -> None:
    head = {"schema": change_journal.SCHEMA, "title": "x", "at": "2026-01-01T00:00:00+00:00"}
    faces.journals.mkdir(parents=True)
    for name in (
        "../outside.jpg",
        str(faces.root.parent / "outside.jpg"),
        "data_src/../../outside.jpg",
        "",
        "model/precious",
        "link/x",
    ):
        path = faces.journals / "20260101-000000-000000.placing"
        path.write_text(json.dumps(head) + "\n" + json.dumps(["data_src/aligned/00001_0.jpg", None, name]) + "\n")
        with pytest.raises(FacesetError, match="cannot be read"):
            recover(faces.journals)
    assert len(list(faces.aligned.iterdir())) == 12


def test_a_stop_in_the_middle_puts_everything_back(faces: Faces) -> None:
    faces.apply(faces.shuffled(0))
    before = faces.contents()
    for patience in range(24):
        with pytest.raises(Interrupted):
            faces.apply(faces.shuffled(1, trashed=3), stop=impatient(patience))
        assert faces.contents() == before
        with pytest.raises(Interrupted):
            undo_last(faces.journals, stop=impatient(patience))
        assert faces.contents() == before
    assert [path.suffix for path in faces.journals.iterdir()] == [".jsonl"]


def test_progress_is_reported(faces: Faces) -> None:
    events: list[object] = []
    faces.apply(faces.shuffled(0), report=events.append)
    assert events[-1] == Progress("Renaming", 12, 12, "files", events[-1].rate)  # type: ignore[attr-defined]


def test_a_folder_that_changes_meanwhile(faces: Faces) -> None:
    """One file vanishes and a stranger takes a name, both after the change has begun: named, and nothing is lost."""
    moves = faces.shuffled(0)
    gone, taken = moves[5].old, moves[7].new
    asked = iter(range(100))

    def interfere() -> bool:
        if next(asked) == 2:
            gone.unlink()
            taken.write_text("a stranger")
        return False

    before = faces.contents()
    change = faces.apply(moves, stop=interfere)
    after = faces.contents()
    assert change.skipped == (Skipped(gone.name, "it is no longer there"),)
    assert taken.read_text() == "a stranger"
    assert taken.with_stem(taken.stem + "_2").read_text() == before[moves[7].old.relative_to(faces.root).as_posix()]
    assert sorted(after.values()) == sorted({*before.values(), "a stranger"} - {gone.name})
    faces.aligned.joinpath(moves[3].old.name).write_text("extracted since")
    back = undo_last(faces.journals)
    assert (back.skipped, len(back.moves)) == ((Skipped("00005.jpg", "it is no longer there"),), 11)
    assert (faces.aligned / moves[3].old.name).read_text() == "extracted since"
    assert moves[3].old.with_stem(moves[3].old.stem + "_2").read_text() == moves[3].old.name


def test_a_face_deleted_since_is_named_by_undo(faces: Faces) -> None:
    faces.apply(faces.shuffled(0))
    (faces.aligned / "00004.jpg").unlink()
    back = undo_last(faces.journals)
    assert back.skipped == (Skipped("00004.jpg", "it is no longer there"),)
    assert len(list(faces.aligned.iterdir())) == 11


def test_a_file_gone_before_it_begins_is_left_out(faces: Faces) -> None:
    moves = faces.shuffled(0)
    moves[4].old.unlink()
    change = faces.apply(moves)
    assert change.skipped == (Skipped(moves[4].old.name, "it is no longer there"),)
    assert not moves[4].new.exists()
    assert faces.apply([Move(faces.aligned / "nothing.jpg", faces.aligned / "x.jpg")]).moves == ()


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("undoing", [False, True])
def test_wherever_it_is_killed_the_next_start_finishes_or_undoes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undoing: bool
) -> None:
    """Every single rename is the last one once, also those of the record itself, and those of a recovery."""
    rename, replace, unlink = os.rename, Path.replace, Path.unlink
    left = [0]

    def mortal(do: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **more: object) -> object:
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return do(*arguments, **more)

        return wrapped

    for fatal in range(1000):
        faces = Faces(tmp_path / str(fatal), 6)
        faces.apply(faces.shuffled(0))
        before = faces.contents()
        moves = faces.shuffled(1, trashed=2)
        moves[1] = Move(moves[1].old, faces.aligned / "new.jpg")
        after = expected(before, faces.root, moves)
        if undoing:
            faces.apply(moves)
        with monkeypatch.context() as patched:
            left[0] = fatal
            patched.setattr(os, "rename", mortal(rename))
            patched.setattr(Path, "replace", mortal(replace))
            patched.setattr(Path, "unlink", mortal(unlink))
            patched.setattr(change_run.Run, "give_up", lambda self, way: None)
            try:
                undo_last(faces.journals) if undoing else faces.apply(moves)
                done = True
            except Killed:
                done = False
            for more in range(3):  # recoveries are killed too
                left[0] = more
                try:
                    recover(faces.journals)
                except Killed:
                    continue
        recover(faces.journals)
        assert faces.contents() in (before, after), fatal
        assert not [path for path in faces.journals.iterdir() if path.suffix != ".jsonl"]
        if done:
            assert fatal > 10
            return


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_changes import Faces
from understudy.facesets.changes import recover, undo_last
faces = Faces.__new__(Faces)
faces.root = Path({root!r})
faces.aligned, faces.trash = faces.root / "data_src/aligned", faces.root / "data_src/aligned_trash"
faces.journals = faces.root / ".understudy/changes/src"
print("ready", flush=True)
while True:
    recover(faces.journals)
    for seed in range(3):
        faces.apply(faces.shuffled(seed))
        print(seed, flush=True)
    for _ in range(3):
        undo_last(faces.journals)
"""


def kill_at_random(root: Path, *, count: int, rounds: int, seed: int, enough: int | None = None) -> int:
    """Kill a process that renames and undoes for ever, `rounds` times. How often it was in the middle.

    enough: end earlier after so many times in the middle.
    """
    faces, chance = Faces(root, count), random.Random(seed)
    everything = sorted(faces.contents().values())
    sorted_names = {f"{index:05d}.jpg" for index in range(count)}
    first_names = {f"{index + 1:05d}_0.jpg" for index in range(count)}
    halfway = 0
    for _ in range(rounds):
        code = CHILD.format(tests=str(Path(__file__).parent), root=str(root))
        paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        begun = time.monotonic()
        while not change_journal.unfinished(faces.journals) and time.monotonic() - begun < 30:
            time.sleep(0.001)
        time.sleep(chance.random() * count / 20_000)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
        child.stdout.close()
        halfway += bool(change_journal.unfinished(faces.journals))
        recover(faces.journals)
        names = {path.name for path in faces.aligned.iterdir()}
        assert names in (sorted_names, first_names), "a change was left half done"
        assert sorted(faces.contents().values()) == everything, "a face was lost"
        while change_journal.finished(faces.journals):
            undo_last(faces.journals)
        assert all((faces.aligned / name).read_text() == name for name in first_names)
        if halfway == enough:
            break
    return halfway


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_process_that_is_really_killed(tmp_path: Path) -> None:
    assert kill_at_random(tmp_path, count=2000, rounds=20, seed=1, enough=2) == 2


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_campaign_of_kills(tmp_path: Path) -> None:
    halfway = kill_at_random(tmp_path, count=10_000, rounds=60, seed=2)
    assert halfway > 15


def test_ten_thousand_files_take_seconds(tmp_path: Path) -> None:
    faces = Faces(tmp_path, 10_000)
    moves = faces.shuffled(0)
    start = time.perf_counter()
    faces.apply(moves)
    assert time.perf_counter() - start < 20, "about 1.5 s on a quiet machine"


def test_a_full_disk_leaves_everything_in_place() -> None:
    with small_disk(mib=2) as disk:
        faces = Faces(disk, 300)
        before = faces.contents()
        ballast = fill(disk)
        with pytest.raises(DiskFull):
            faces.apply(faces.shuffled(0))
        ballast.unlink()
        assert faces.contents() == before
        assert not list(faces.journals.glob("*.*")) or recover(faces.journals) == []
        faces.apply(faces.shuffled(0))


def test_a_folder_that_may_not_be_written_to() -> None:
    with ordinary_user() as folder:
        faces = Faces(folder, 12)
        before = faces.contents()
        faces.aligned.chmod(0o555)
        with pytest.raises(ReadOnlyWorkspace, match="No permission"):
            faces.apply(faces.shuffled(0))
        assert (faces.contents(), recover(faces.journals)) == (before, [])
        faces.aligned.chmod(0o755)
        faces.apply(faces.shuffled(0))
        after = faces.contents()
        faces.aligned.chmod(0o555)
        with pytest.raises(ReadOnlyWorkspace):
            undo_last(faces.journals)
        assert faces.contents() == after
        faces.aligned.chmod(0o755)
        undo_last(faces.journals)
        assert faces.contents() == before


def test_an_unfinished_change_is_finished_before_another_begins(faces: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    moves = faces.shuffled(0)
    after = expected(faces.contents(), faces.root, moves)
    with monkeypatch.context() as patched:
        patched.setattr(change_run.Run, "give_up", lambda self, way: None)
        with pytest.raises(Interrupted):
            faces.apply(moves, stop=impatient(15))
    with pytest.raises(FacesetError, match="cut off"):
        faces.apply([Move(faces.aligned / "00003.jpg", faces.aligned / "x.jpg")])
    assert faces.contents() == after


def test_old_changes_are_forgotten_and_their_files_stay(faces: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "KEPT", 2)
    for seed in range(4):
        faces.apply(faces.shuffled(seed))
    assert len(changes.changes(faces.journals)) == 2
    assert len(list(faces.aligned.iterdir())) == 12
