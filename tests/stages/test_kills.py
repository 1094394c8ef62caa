"""Whatever moment a faceset command is killed at, the same command again ends as if nothing had happened.

The short part kills each command at a few seeded moments, the campaign at as many as it has time for.
"""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from made_faces import make_jpeg, make_labelled_meta
from mortal import Mortal, mortal
from shots import small_shot
from small_faces import face_files
from understudy.curation.person_options import PersonsAction
from understudy.detection.options import ExtractOptions
from understudy.facesets import encode_jpeg, read_face, write_face
from understudy.facesets.container import parse_header
from understudy.facesets.packs import PACK_NAME, each_packed
from understudy.records import Side
from understudy.stages.extract import extract
from understudy.stages.meta_backup import save_meta
from understudy.stages.pack import pack
from understudy.stages.persons import persons
from understudy.stages.sort import sort
from understudy.workspace import Workspace

SECONDS = float(os.environ.get("UNDERSTUDY_FUZZ_SECONDS", "600"))
SEED = 20261122


def two_people(workspace: Workspace) -> None:
    """Faces of two people in tracks, three of them twice, and one with everything that a face can hold."""
    for number, performer in enumerate(Side):
        for index, (_, jpeg, meta) in enumerate(face_files(performer, 6)):
            known = meta.but(track=number + 1, confidence=0.5 + index / 20)
            write_face(workspace.src.aligned / f"{index + 1:05d}_{number}.jpg", jpeg, known)
    for index, (_, jpeg, meta) in enumerate(face_files(Side.SRC, 6)[:3]):
        again = meta.but(source_filename=f"{index + 21:05d}.png", track=3)
        write_face(workspace.src.aligned / f"{index + 21:05d}_0.jpg", jpeg, again)
    write_face(workspace.src.aligned / "00030_0.jpg", make_jpeg(3), make_labelled_meta(29))


def sorted_people(workspace: Workspace) -> None:
    two_people(workspace)
    sort(workspace, Side.SRC)


def grouped_people(workspace: Workspace) -> None:
    two_people(workspace)
    persons(workspace, Side.SRC, PersonsAction.FIND)


def packed_people(workspace: Workspace) -> None:
    two_people(workspace)
    pack(workspace, Side.SRC)
    for path in workspace.src.aligned.glob("*.jpg"):
        path.unlink()


def edited_people(workspace: Workspace) -> None:
    """Faces that a program has edited which drops their data."""
    two_people(workspace)
    save_meta(workspace, Side.SRC)
    for path in workspace.src.aligned.glob("*.jpg"):
        path.write_bytes(encode_jpeg(read_face(path).rgb8[::-1], 85))


def footage(workspace: Workspace) -> None:
    small_shot().write_frames(workspace.src.frames)


def extracted(workspace: Workspace) -> None:
    """Faces of all frames but three, and two debug images deleted."""
    footage(workspace)
    extract(workspace, Side.SRC, ExtractOptions.of(image_size=256, debug_images=True))
    for frame in (3, 4, 9):
        (workspace.src.aligned / f"{frame:05d}_0.jpg").unlink()
    for frame in (6, 7):
        (workspace.src.aligned_debug / f"{frame:05d}.jpg").unlink()


@dataclass(frozen=True)
class Command:
    """A stage on a faceset. again: it may do its work once more when it was killed after its end."""

    make: Callable[[Workspace], None]
    stage: str
    arguments: dict[str, Any] = field(default_factory=dict)


COMMANDS = {
    "extract": Command(footage, "extract:extract", {"options": {"image_size": 256, "debug_images": True}}),
    "extract on": Command(extracted, "extract:extract", {"options": {"image_size": 256, "debug_images": True}}),
    "extract anew": Command(extracted, "extract:extract", {"options": {"image_size": 256, "replace": True}}),
    "realign": Command(extracted, "realign:realign", {"frame": "3", "options": {"rect": "100,60,220,200"}}),
    "realign missing": Command(extracted, "realign:realign", {"options": {"all_missing": True}}),
    "realign deleted": Command(extracted, "realign:realign", {"options": {"all_deleted_debug": True}}),
    "sort": Command(two_people, "sort:sort", {"options": {"by": "blur", "keep": 9}}),
    "undo": Command(sorted_people, "undo:undo"),
    "restore names": Command(sorted_people, "names:restore_names"),
    "find persons": Command(two_people, "persons:persons", {"action": "find"}),
    "persons in folders": Command(two_people, "persons:persons", {"action": "find", "options": {"folders": True}}),
    "merge persons": Command(
        grouped_people, "persons:persons", {"action": "merge", "names": ["person-1", "person-2"]}
    ),
    "drop a person": Command(grouped_people, "persons:persons", {"action": "drop", "names": ["person-1"]}),
    "dedupe": Command(two_people, "dedupe:dedupe", {"options": {"threshold": 12}}),
    "trash": Command(two_people, "trash:trash", {"where": "index>0"}),
    "pack": Command(two_people, "pack:pack", {"options": {"delete_originals": True}}),
    "unpack": Command(packed_people, "unpack:unpack"),
    "resize": Command(two_people, "resize:resize", {"options": {"image_size": 128}}),
    "resize all": Command(two_people, "resize:resize", {"options": {"image_size": 128, "replace": True}}),
    "save data": Command(two_people, "meta_backup:save_meta"),
    "restore data": Command(edited_people, "meta_backup:restore_meta"),
}  # fmt: skip
SHORT = ("extract", "realign missing", "sort", "find persons", "pack", "unpack", "resize all", "restore data")


@pytest.fixture(scope="module")
def run() -> Iterator[Mortal]:
    with mortal() as made:
        yield made


def files_of(root: Path) -> dict[str, bytes]:
    """What a user sees of the faceset: every file of aligned, aligned_trash and the like that is not hidden."""
    frames = Workspace(root).src.frames
    found = (path for path in frames.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(frames).as_posix(): path.read_bytes() for path in found}


def aligned(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.startswith("aligned/")}


def pictures(root: Path) -> set[bytes]:
    """What tells the pictures of all faces, loose or packed, wherever in the workspace they are; not their data."""
    found = set()
    for path in root.rglob("*.jpg"):
        if path.is_file() and "aligned_debug" not in path.parts:
            found.add(picture_of(path.read_bytes()))
    for pack_file in root.rglob(PACK_NAME):
        data = pack_file.read_bytes()
        found |= {picture_of(data[face.offset : face.offset + face.size]) for face in each_packed(pack_file)}
    return found


def picture_of(data: bytes) -> bytes:
    for payload in parse_header(data).payloads if data.startswith(b"\xff\xd8") else ():
        data = data.replace(payload, b"", 1).replace((len(payload) + 2).to_bytes(2, "big"), b"", 1)
    return hashlib.sha256(data).digest()


class Trial:
    """A command, what it does when nobody kills it, and what it does when somebody does."""

    def __init__(self, run: Mortal, command: Command, folder: Path) -> None:
        self.run, self.command, self.folder = run, command, folder
        self.start = folder / "start"
        command.make(Workspace.create(self.start))
        shutil.rmtree(self.start / ".understudy" / "locks", ignore_errors=True)
        self.pictures = pictures(self.start)
        root = self.copy("whole")
        self.changes = self.again(root, count=True)
        self.once = files_of(root)
        self.undone = [files_of(path) for path in self.undo_all(self.copied(root, "undone"))]
        self.again(root)
        self.twice = files_of(root)
        self.undone += [files_of(path) for path in self.undo_all(root)]

    def copy(self, name: str) -> Path:
        return self.copied(self.start, name)

    def copied(self, root: Path, name: str) -> Path:
        copy = self.folder / name
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(root, copy)
        return copy

    def again(self, root: Path, *, kill_at: int = -1, count: bool = False) -> int:
        fate = self.run(f"stages.{self.command.stage}", root, kill_at=kill_at, **self.given())
        if count:
            assert fate.error is None, fate
        if kill_at >= 0:
            assert fate.killed, f"it made fewer than {kill_at} changes"
        return fate.changes

    def given(self) -> dict[str, Any]:
        return {"side": "src", **self.command.arguments}

    def undo_all(self, root: Path) -> Iterator[Path]:
        for _ in range(8):
            if self.run("stages.undo:undo", root, side="src").error is not None:
                break
        yield root

    def kill(self, moment: int) -> None:
        """Kill it before one of its changes; then nothing is lost, and the same command goes on."""
        root = self.copy("killed")
        self.again(root, kill_at=moment)
        assert self.pictures <= pictures(root), "faces were lost"
        self.run("stages.status:status", root)
        self.run("stages.faceset_info:faceset_info", root, side="src")
        self.again(root)
        found = files_of(root)
        assert aligned(found) in (aligned(self.once), aligned(self.twice)), "it does not end as it would have"
        assert self.pictures <= pictures(root), "faces were lost in the end"
        assert not list(Workspace(root).src.aligned.rglob(".*")), "unfinished files are left"
        for path in self.undo_all(root):
            assert aligned(files_of(path)) in [aligned(each) for each in self.undone], "undo brings back other files"


@pytest.mark.parametrize("name", SHORT)
def test_a_killed_command_is_finished_by_the_same_command(run: Mortal, tmp_path: Path, name: str) -> None:
    trial = Trial(run, COMMANDS[name], tmp_path)
    chance = random.Random(f"{SEED} {name}")
    for moment in chance.sample(range(trial.changes), 2):
        trial.kill(moment)


@pytest.mark.faults
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", COMMANDS)
def test_campaign_of_kills_at_any_moment(run: Mortal, tmp_path: Path, name: str) -> None:
    trial = Trial(run, COMMANDS[name], tmp_path)
    seed = random.randrange(1 << 32)
    moments = list(range(trial.changes))
    random.Random(seed).shuffle(moments)
    end = time.monotonic() + SECONDS / len(COMMANDS)
    for count, moment in enumerate(moments):
        if count >= 20 and time.monotonic() > end:
            break
        try:
            trial.kill(moment)
        except AssertionError as error:
            raise AssertionError(f"killed before change {moment} of {trial.changes}: {error}") from error
