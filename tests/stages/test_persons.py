"""Who is who in a faceset on disk: found, named, taken apart, sorted out, and none of it lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from small_faces import face_files
from understudy.curation.person_options import PersonsAction, PersonsOptions
from understudy.errors import Busy, EmptyFaceset, Interrupted, InvalidOption, ReadOnlyWorkspace, UsageError
from understudy.facesets import Catalog, read_meta, write_face
from understudy.files import write_bytes
from understudy.records import Side
from understudy.stages import person_groups
from understudy.stages.pack import pack
from understudy.stages.person_groups import pending_path, sheet_path
from understudy.stages.persons import frame_indices, persons
from understudy.stages.undo import undo
from understudy.workspace import Workspace
from users import ordinary_user

FRAMES = 8
PEOPLE = {0: Side.SRC, 1: Side.DST}


def workspace_of_two(root: Path, *, frames: int = FRAMES, tracks: bool = True) -> Workspace:
    """dst faces of two performers who are in every frame: number 0 of a frame is one, number 1 the other."""
    workspace = Workspace.create(root)
    for number, performer in PEOPLE.items():
        for index, (_, jpeg, meta) in enumerate(face_files(performer, frames)):
            known = meta.but(track=number + 1) if tracks else meta
            write_face(workspace.dst.aligned / f"{index + 1:05d}_{number}.jpg", jpeg, known)
    return workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_of_two(tmp_path / "shot")


def do(workspace: Workspace, action: str, *names: str, **options: object) -> dict[str, object]:
    return persons(workspace, Side.DST, PersonsAction(action), names, PersonsOptions.of(**options)).as_json()


def groups(workspace: Workspace) -> dict[str, str | None]:
    """The group of each face, from the files themselves."""
    folder = workspace.dst.aligned
    return {path.relative_to(folder).as_posix(): read_meta(path).group for path in sorted(folder.rglob("*.jpg"))}


def sizes(workspace: Workspace) -> Counter[str | None]:
    return Counter(groups(workspace).values())


def test_two_people_become_two_groups_in_the_faces(workspace: Workspace) -> None:
    result = do(workspace, "find")
    assert sizes(workspace) == {"person-1": FRAMES, "person-2": FRAMES}
    by_number = {(key.split("_")[1], group) for key, group in groups(workspace).items()}
    assert len(by_number) == 2
    (first, _) = result["persons"]  # type: ignore[misc]
    assert first | {"best": ""} == {
        "name": "person-1", "faces": FRAMES, "tracks": 1, "frames": FRAMES,
        "first": "00001", "last": f"{FRAMES:05d}", "best": "", "own": False,
    }  # fmt: skip


def test_a_sheet_shows_every_person(workspace: Workspace) -> None:
    result = do(workspace, "find")
    assert result["outputs"] == [str(sheet_path(workspace, Side.DST))]
    with Image.open(sheet_path(workspace, Side.DST)) as sheet:
        assert sheet.format == "PNG"
        assert sheet.height > 2 * 112
        assert len(sheet.convert("RGB").resize((40, 10)).getcolors(400) or ()) > 20


def test_list_shows_what_find_found_and_changes_nothing(workspace: Workspace) -> None:
    assert do(workspace, "list")["persons"] == []
    found = do(workspace, "find")
    before = {path: path.stat().st_mtime_ns for path in workspace.dst.aligned.iterdir()}
    assert do(workspace, "list")["persons"] == found["persons"]
    assert before == {path: path.stat().st_mtime_ns for path in workspace.dst.aligned.iterdir()}


def test_finding_again_writes_nothing_and_keeps_names(workspace: Workspace) -> None:
    do(workspace, "find")
    before = {path: path.stat().st_mtime_ns for path in workspace.dst.aligned.iterdir()}
    do(workspace, "find")
    assert before == {path: path.stat().st_mtime_ns for path in workspace.dst.aligned.iterdir()}


def test_names_stay_when_the_order_of_sizes_changes(workspace: Workspace) -> None:
    do(workspace, "find")
    first = groups(workspace)
    for number in range(1, 6):
        key = next(key for key, name in first.items() if name == "person-1" and key.startswith(f"{number:05d}"))
        (workspace.dst.aligned / key).unlink()
    do(workspace, "find")
    assert groups(workspace) == {key: first[key] for key in groups(workspace)}


def test_a_name_of_the_users_survives_finding_again_and_the_loss_of_everything_beside_the_faces(
    workspace: Workspace,
) -> None:
    do(workspace, "find")
    do(workspace, "rename", "person-1", "Anna B")
    do(workspace, "find")
    assert sizes(workspace) == {"Anna B": FRAMES, "person-2": FRAMES}
    person_groups.notebook_path(workspace, Side.DST).unlink()
    do(workspace, "find")
    assert sizes(workspace) == {"Anna B": FRAMES, "person-2": FRAMES}


def test_faces_that_come_later_join_the_named_person(workspace: Workspace) -> None:
    late = workspace.dst.aligned / "00004_0.jpg"
    data = late.read_bytes()
    late.unlink()
    do(workspace, "find")
    name = groups(workspace)["00001_0.jpg"]
    assert name is not None
    do(workspace, "rename", name, "Anna")
    late.write_bytes(data)
    do(workspace, "find")
    assert groups(workspace)["00004_0.jpg"] == "Anna"


def test_what_was_merged_stays_merged_and_fresh_forgets_it(workspace: Workspace) -> None:
    do(workspace, "find")
    do(workspace, "merge", "person-1", "person-2")
    assert sizes(workspace) == {"person-1": 2 * FRAMES}
    do(workspace, "find")
    assert sizes(workspace) == {"person-1": 2 * FRAMES}
    do(workspace, "find", fresh=True)
    assert sizes(workspace) == {"person-1": FRAMES, "person-2": FRAMES}


def test_a_group_of_two_people_is_split_and_stays_so(workspace: Workspace) -> None:
    do(workspace, "find")
    do(workspace, "merge", "person-1", "person-2")
    do(workspace, "rename", "person-1", "both")
    result = do(workspace, "split", "both")
    assert result["into"] == ["both", "person-1"]
    assert sorted(sizes(workspace).values()) == [FRAMES, FRAMES]
    do(workspace, "find")
    assert set(sizes(workspace)) == {"both", "person-1"}


@pytest.mark.parametrize(
    ("action", "names", "left"), [("drop", ["person-1"], "person-2"), ("keep", ["PERSON-1"], "person-1")]
)
def test_sorting_people_out_moves_them_to_the_trash_and_undo_brings_them_back(
    workspace: Workspace, action: str, names: list[str], left: str
) -> None:
    do(workspace, "find")
    before = groups(workspace)
    result = do(workspace, action, *names)
    assert result["moved"] == FRAMES
    assert sizes(workspace) == {left: FRAMES}
    assert len(list(workspace.dst.aligned_trash.glob("*.jpg"))) == FRAMES
    undo(workspace, Side.DST)
    assert groups(workspace) == before


def test_groups_become_folders_that_every_command_understands(workspace: Workspace) -> None:
    do(workspace, "find", folders=True)
    folders = sorted(path.name for path in workspace.dst.aligned.iterdir())
    assert folders == ["person-1", "person-2"]
    with Catalog.open(workspace.dst.aligned) as catalog:
        assert catalog.persons == folders
    do(workspace, "rename", "person-1", "Anna")
    do(workspace, "find")
    rows = do(workspace, "list")["persons"]
    assert [row["name"] for row in rows] == ["Anna", "person-2"]  # type: ignore[index]
    do(workspace, "merge", "Anna", "person-2")
    assert [path.name for path in workspace.dst.aligned.iterdir()] == ["Anna"]
    assert len(list((workspace.dst.aligned / "Anna").iterdir())) == 2 * FRAMES
    for _ in range(3):
        undo(workspace, Side.DST)
    assert len(list(workspace.dst.aligned.glob("*.jpg"))) == 2 * FRAMES


@pytest.mark.parametrize(
    ("action", "names"),
    [
        ("find", ["person-1"]),
        ("merge", ["person-1"]),
        ("merge", ["person-1", "person-1"]),
        ("rename", ["person-1"]),
        ("rename", ["person-1", "Person-2"]),
        ("rename", ["person-1", "../out"]),
        ("rename", ["person-1", " "]),
        ("rename", ["person-1", "con"]),
        ("rename", ["person-1", "x" * 300]),
        ("keep", []),
        ("drop", ["nobody"]),
        ("split", ["person-1"]),
    ],
)
def test_what_cannot_be_done_says_why_and_changes_nothing(workspace: Workspace, action: str, names: list[str]) -> None:
    do(workspace, "find")
    before = groups(workspace)
    with pytest.raises(UsageError) as caught:
        do(workspace, action, *names)
    assert caught.value.hint
    assert groups(workspace) == before


def test_names_before_finding_say_how_to_find(workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="not grouped") as caught:
        do(workspace, "drop", "person-1")
    assert "persons dst find" in caught.value.hint


def test_colours_without_a_network_are_refused() -> None:
    with pytest.raises(InvalidOption, match="engine"):
        PersonsOptions.of(engine_colours="bgr")


def test_packed_faces_must_be_unpacked_but_can_be_listed(workspace: Workspace) -> None:
    do(workspace, "find")
    pack(workspace, Side.DST)
    assert len(do(workspace, "list")["persons"]) == 2  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="packed") as caught:
        do(workspace, "find")
    assert "unpack" in caught.value.hint


def test_no_faces_and_no_folder_say_so(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "empty")
    for action in ("list", "find"):
        with pytest.raises(EmptyFaceset):
            do(workspace, action)
    workspace.dst.aligned.rmdir()
    with pytest.raises(EmptyFaceset):
        do(workspace, "find")


def test_pictures_that_are_no_faces_are_left_alone(workspace: Workspace) -> None:
    write_bytes(workspace.dst.aligned / "note.jpg", b"no picture")
    result = do(workspace, "find")
    assert len(result["persons"]) == 2  # type: ignore[arg-type]
    assert (workspace.dst.aligned / "note.jpg").read_bytes() == b"no picture"
    with pytest.raises(UsageError, match="belong to nobody"):
        do(workspace, "find", folders=True)


def test_a_second_writer_is_refused(workspace: Workspace) -> None:
    with workspace.writing("aligned-dst"), pytest.raises(Busy):
        do(workspace, "find")


def test_read_only_faces_are_refused_and_finished_when_they_can_be_written() -> None:
    with ordinary_user() as folder:
        workspace = workspace_of_two(folder / "shot")
        workspace.dst.aligned.chmod(0o555)
        with pytest.raises(ReadOnlyWorkspace):
            do(workspace, "find")
        workspace.dst.aligned.chmod(0o755)
        do(workspace, "list")
        assert sizes(workspace) == {"person-1": FRAMES, "person-2": FRAMES}


def test_stopped_while_looking_changes_nothing(workspace: Workspace) -> None:
    calls = iter(range(1000))
    with pytest.raises(Interrupted):
        persons(workspace, Side.DST, PersonsAction.FIND, stop=lambda: next(calls) > 5)
    assert sizes(workspace) == {None: 2 * FRAMES}


def test_stopped_while_writing_is_finished_by_the_next_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    real = person_groups.write_meta

    def counted(path: Path, meta: object) -> None:
        real(path, meta)  # type: ignore[arg-type]
        written.append(path)

    monkeypatch.setattr(person_groups, "write_meta", counted)
    with pytest.raises(Interrupted, match="groups written"):
        persons(workspace, Side.DST, PersonsAction.FIND, stop=lambda: len(written) >= 3)
    assert pending_path(workspace, Side.DST).exists()
    assert do(workspace, "list")["ungrouped"] == 0
    assert sizes(workspace) == {"person-1": FRAMES, "person-2": FRAMES}
    assert not pending_path(workspace, Side.DST).exists()


KILLED = """
import sys, time
from pathlib import Path
from understudy.curation.person_options import PersonsAction
from understudy.records import Side
from understudy.stages import person_groups
from understudy.stages.persons import persons
from understudy.workspace import Workspace
real = person_groups.write_meta
def slow(path, meta):
    real(path, meta)
    print("written", flush=True)
    time.sleep(0.2)
person_groups.write_meta = slow
persons(Workspace.open(Path(sys.argv[1])), Side.DST, PersonsAction.MERGE, ["person-1", "person-2"])
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 here")
def test_a_merge_killed_midway_is_finished_by_the_next_command(workspace: Workspace) -> None:
    do(workspace, "find")
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(workspace.root)], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert process.stdout is not None
    for _ in range(2):
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert 1 < sizes(workspace)["person-2"] < FRAMES
    do(workspace, "list")
    assert sizes(workspace) == {"person-1": 2 * FRAMES}
    do(workspace, "find")
    assert sizes(workspace) == {"person-1": 2 * FRAMES}


def test_a_left_over_plan_does_not_touch_other_faces_of_that_name(workspace: Workspace) -> None:
    """Faces that were renamed since keep what they are."""
    do(workspace, "find")
    before = groups(workspace)
    rows = {"00001_0.jpg": ["wrong", "00007.png"], "gone.jpg": ["wrong", "00001.png"], "00002_0.jpg": "senseless"}
    pending = pending_path(workspace, Side.DST)
    pending.write_text(json.dumps({"schema": person_groups.SCHEMA, "groups": rows}))
    do(workspace, "list")
    assert groups(workspace) == before
    assert not pending.exists()


def test_senseless_files_beside_the_faces_do_no_harm(workspace: Workspace) -> None:
    do(workspace, "find")
    for path in (pending_path(workspace, Side.DST), person_groups.notebook_path(workspace, Side.DST)):
        path.write_bytes(b"\xff{")
    assert len(do(workspace, "find")["persons"]) == 2  # type: ignore[arg-type]


def test_frames_of_footage_are_numbered_and_stills_are_not() -> None:
    frames = [
        *(f"a{number:05d}" for number in range(6)),
        *(f"b{number:03d}" for number in range(5)),
        "man_197x276",
        None,
    ]
    found = frame_indices(frames)
    assert found[1] is not None
    assert found[0] is not None
    assert found[1] - found[0] == 1
    assert found[6] is not None
    assert found[5] is not None
    assert abs(found[6] - found[5]) > 1_000_000
    assert found[-2:] == [None, None]
