"""Sorting a faceset on disk: names, trash, undo, and what hinders it."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from made_faces import SIZE, make_jpeg, make_meta
from small_faces import workspace_with_faces
from understudy.curation.sort_options import SortBy, SortOptions
from understudy.errors import Busy, EmptyFaceset, Interrupted, ReadOnlyWorkspace, UsageError
from understudy.facesets import Catalog, change_run, encode_jpeg, read_meta, write_face
from understudy.facesets.packs import write_pack
from understudy.records import Side, Skipped
from understudy.report import Progress
from understudy.stages.extract import extract
from understudy.stages.sort import sort
from understudy.stages.undo import list_changes, undo
from understudy.workspace import Workspace
from users import ordinary_user


def grey_face(level: int) -> bytes:
    return encode_jpeg(np.full((SIZE, SIZE, 3), level, np.uint8), 95)


def make_workspace(root: Path, count: int = 6) -> Workspace:
    """Faces that are brighter the later their frame is."""
    workspace = Workspace.create(root)
    for index in range(count):
        write_face(workspace.src.aligned / f"{index + 1:05d}_0.jpg", grey_face(40 + 20 * index), make_meta(index))
    return workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path)


def by(order: str, **more: Any) -> SortOptions:
    return SortOptions.of(by=order, **more)


def contents(workspace: Workspace) -> dict[str, bytes]:
    root = workspace.src.frames
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def sources(workspace: Workspace) -> list[str | None]:
    """Which frames the faces are of, in the order of the files."""
    return [read_meta(path).source_filename for path in sorted(workspace.src.aligned.glob("*.jpg"))]


def test_names_say_the_order_and_undo_brings_the_old_ones_back(workspace: Workspace) -> None:
    before = contents(workspace)
    result = sort(workspace, Side.SRC, by("brightness"))
    assert sorted(path.name for path in workspace.src.aligned.iterdir()) == [f"{n:05d}.jpg" for n in range(6)]
    assert sources(workspace) == [f"{n:05d}.png" for n in (6, 5, 4, 3, 2, 1)]
    assert (result.faces, result.notes["kept"], result.notes["trashed"], result.skipped) == (6, 6, 0, [])
    assert list_changes(workspace, Side.SRC)[0]["title"] == "Sorted by brightness"
    sort(workspace, Side.SRC, by("origname"))
    assert sources(workspace) == [f"{n:05d}.png" for n in range(1, 7)]
    assert undo(workspace, Side.SRC).notes["next"] == "Sorted by brightness"
    assert undo(workspace, Side.SRC).notes["next"] is None
    assert contents(workspace) == before


def test_nothing_is_read_again_after_a_sort(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    sort(workspace, Side.SRC, by("brightness"))
    from understudy.facesets import catalog as module

    def refuse(*arguments: object) -> None:
        raise AssertionError("a face is read again")

    monkeypatch.setattr(module, "row_of_file", refuse, raising=True)
    with Catalog.open(workspace.src.aligned, cache=workspace.catalogs) as catalog:
        assert [face.source_filename for face in catalog.faces()] == sources(workspace)
    undo(workspace, Side.SRC)
    with Catalog.open(workspace.src.aligned, cache=workspace.catalogs) as catalog:
        assert [face.name for face in catalog.faces()] == [f"{n:05d}_0.jpg" for n in range(1, 7)]


def test_what_is_not_kept_goes_to_the_trash_and_nothing_there_is_lost(workspace: Workspace) -> None:
    workspace.src.aligned_trash.mkdir()
    (workspace.src.aligned_trash / "00001_0.jpg").write_bytes(b"from before")
    before = contents(workspace)
    result = sort(workspace, Side.SRC, by("brightness", keep=2))
    assert sources(workspace) == ["00006.png", "00005.png"]
    trash = {path.name: path.read_bytes() for path in workspace.src.aligned_trash.iterdir()}
    assert trash["00001_0.jpg"] == b"from before"
    assert set(trash) == {"00001_0.jpg", "00001_0_2.jpg", "00002_0.jpg", "00003_0.jpg", "00004_0.jpg"}
    assert result.notes["trashed"] == 4
    undo(workspace, Side.SRC)
    assert contents(workspace) == before


@pytest.mark.parametrize("only", ["dry_run", "as_list"])
def test_looking_changes_nothing(workspace: Workspace, only: str) -> None:
    before = contents(workspace)
    result = sort(workspace, Side.SRC, by("brightness", keep=4, **{only: True}))
    assert contents(workspace) == before
    assert (result.notes["kept"], result.notes["trashed"], result.outputs) == (4, 2, [])
    assert "undo" not in result.notes
    if only == "as_list":
        rows = result.notes["order"]
        assert rows[0] == {"file": "00006_0.jpg", "new": "00000.jpg", "value": pytest.approx(140, abs=1)}
        assert [row["new"] for row in rows[4:]] == [None, None]
        json.dumps(result.as_json())


@pytest.mark.parametrize("order", list(SortBy))
def test_every_order_works_on_faces_and_loses_none(tmp_path: Path, order: SortBy) -> None:
    workspace = workspace_with_faces(tmp_path, 5)
    before = contents(workspace)
    result = sort(workspace, Side.SRC, SortOptions(by=order))
    assert sorted(contents(workspace).values()) == sorted(before.values())
    assert result.notes["kept"] + result.notes["trashed"] == 5 or not result.notes["kept"]
    with contextlib.suppress(UsageError):
        undo(workspace, Side.SRC)
    assert contents(workspace) == before


def test_pictures_that_are_no_faces_follow_the_order_or_are_sorted_out(workspace: Workspace) -> None:
    """As in the reference: what only looks at pictures takes them all; what asks a face moves others to the trash."""
    (workspace.src.aligned / "holiday.jpg").write_bytes(grey_face(250))
    cv2.imwrite(str(workspace.src.aligned / "plate.png"), np.full((40, 60, 3), 1, np.uint8))
    (workspace.src.aligned / "00002_0.jpg").write_bytes(b"\xff\xd8 broken")
    before = contents(workspace)
    result = sort(workspace, Side.SRC, by("brightness"))
    assert [item.item for item in result.skipped] == ["00002_0.jpg"]
    names = sorted(path.name for path in workspace.src.aligned.iterdir())
    assert names == sorted([*(f"{n:05d}.jpg" for n in range(6)), "00002_0.jpg", "00006.png"])
    undo(workspace, Side.SRC)
    result = sort(workspace, Side.SRC, by("face-yaw"))
    assert sorted(item.item for item in result.skipped) == ["00002_0.jpg", "holiday.jpg", "plate.png"]
    assert {path.name for path in workspace.src.aligned_trash.iterdir()} == {"00002_0.jpg", "holiday.jpg", "plate.png"}
    assert result.notes["kept"] == 5
    undo(workspace, Side.SRC)
    assert contents(workspace) == before


def test_persons_in_sub_folders_are_sorted_each_by_themselves(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    for number, person in enumerate(("anna", "ben")):
        for index in range(3):
            path = workspace.src.aligned / person / f"{index + 1:05d}_0.jpg"
            path.parent.mkdir(exist_ok=True)
            write_face(path, grey_face(40 + 20 * index + number), make_meta(index))
    result = sort(workspace, Side.SRC, by("brightness", keep=2))
    assert set(contents(workspace)) == {
        *(f"aligned/{person}/{n:05d}.jpg" for person in ("anna", "ben") for n in range(2)),
        *(f"aligned_trash/{person}/00001_0.jpg" for person in ("anna", "ben")),
    }
    assert result.notes["kept"] == 4
    with Catalog.open(workspace.src.aligned, cache=workspace.catalogs) as catalog:
        assert [face.source_filename for face in catalog.faces(person="ben")] == ["00003.png", "00002.png"]


def test_packed_faces_are_listed_but_not_renamed(workspace: Workspace) -> None:
    with Catalog.open(workspace.src.aligned) as catalog:
        write_pack(workspace.src.aligned, catalog.faces())
    before = contents(workspace)
    with pytest.raises(UsageError, match="packed") as caught:
        sort(workspace, Side.SRC, by("brightness"))
    assert "faceset unpack src" in caught.value.hint
    rows = sort(workspace, Side.SRC, by("brightness", as_list=True)).notes["order"]
    assert [row["file"] for row in rows][:2] == ["00006_0.jpg", "00005_0.jpg"]
    assert contents(workspace) == before


def test_by_likeness_to_the_other_faceset(tmp_path: Path) -> None:
    """Of two people in the src those come first who are in the dst too."""
    workspace = workspace_with_faces(tmp_path, 4)
    for path in sorted(workspace.dst.aligned.iterdir())[:2]:
        (workspace.src.aligned / f"like_{path.name}").write_bytes(path.read_bytes())
        path.unlink()
    rows = sort(workspace, Side.SRC, by("distance", as_list=True)).notes["order"]
    assert all(row["file"].startswith("like_") for row in rows[:2])
    assert rows[1]["value"] < rows[2]["value"]
    for path in workspace.dst.aligned.iterdir():
        path.unlink()
    with pytest.raises(EmptyFaceset):
        sort(workspace, Side.SRC, by("distance"))


def test_people_stand_together_by_identity(tmp_path: Path) -> None:
    workspace = workspace_with_faces(tmp_path, 4)
    for path in sorted(workspace.dst.aligned.iterdir()):
        number, _, rest = path.name.partition("_")
        (workspace.src.aligned / f"{number}_1{rest[1:]}").write_bytes(path.read_bytes())
    rows = sort(workspace, Side.SRC, by("identity", as_list=True)).notes["order"]
    people = [row["file"].partition("_")[2][0] for row in rows]
    assert people == ["0"] * 4 + ["1"] * 4


def test_interrupted_while_it_looks_nothing_is_renamed(workspace: Workspace) -> None:
    before = contents(workspace)
    for patience in (0, 3, 9, 15):
        asked = iter(range(10_000))
        with pytest.raises(Interrupted):
            sort(workspace, Side.SRC, by("hist"), stop=after(patience, asked))
        assert contents(workspace) == before


def after(patience: int, asked: Any) -> Callable[[], bool]:
    return lambda: next(asked) >= patience


def test_progress_names_the_two_halves(workspace: Workspace) -> None:
    events: list[Any] = []
    sort(workspace, Side.SRC, by("hist"), report=events.append)
    assert {"Looking at faces", "Chaining", "Renaming"} <= {e.step for e in events if isinstance(e, Progress)}


def test_a_folder_that_changes_while_it_is_sorted(workspace: Workspace) -> None:
    """A face that goes away and one that comes are both named or left alone; the others are sorted."""
    events: list[Any] = []

    def interfere(event: Any) -> None:
        events.append(event)
        if isinstance(event, Progress) and event.step == "Looking at faces" and event.done == 6:
            (workspace.src.aligned / "00003_0.jpg").unlink(missing_ok=True)
            (workspace.src.aligned / "00002.jpg").write_bytes(b"a stranger")

    result = sort(workspace, Side.SRC, by("brightness"), report=interfere)
    assert result.skipped == [Skipped("00003_0.jpg", "it is no longer there")]
    names = sorted(path.name for path in workspace.src.aligned.iterdir())
    assert names == ["00000.jpg", "00001.jpg", "00002.jpg", "00002_2.jpg", "00004.jpg", "00005.jpg"]
    assert (workspace.src.aligned / "00002.jpg").read_bytes() == b"a stranger"


def test_mixed_sizes_have_no_pixel_difference(workspace: Workspace) -> None:
    small = cv2.resize(np.full((SIZE, SIZE, 3), 9, np.uint8), (48, 48))
    write_face(workspace.src.aligned / "00009_0.jpg", encode_jpeg(small, 90), make_meta(8))
    with pytest.raises(UsageError, match="48x48, 96x96"):
        sort(workspace, Side.SRC, by("absdiff"))


def test_empty_and_missing_facesets(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path)
    with pytest.raises(EmptyFaceset, match="empty"):
        sort(workspace, Side.SRC)
    (workspace.src.aligned / "a.jpg").write_bytes(make_jpeg())
    with pytest.raises(EmptyFaceset, match="1 pictures but none"):
        sort(workspace, Side.SRC)
    workspace.dst.aligned.rmdir()
    with pytest.raises(EmptyFaceset, match="no faceset"):
        sort(workspace, Side.DST)
    with pytest.raises(UsageError, match="no change"):
        undo(workspace, Side.DST)


def test_a_sort_that_would_leave_nothing_does_nothing(workspace: Workspace) -> None:
    """Flat grey faces have no edges at all, so sorting by blur would move every one of them to the trash."""
    before = contents(workspace)
    events: list[Any] = []
    result = sort(workspace, Side.SRC, by("blur"), report=events.append)
    assert contents(workspace) == before
    assert (result.notes["kept"], result.notes["trashed"]) == (0, 0)
    assert any("nothing was renamed" in getattr(event, "message", "") for event in events)


def test_two_at_once(workspace: Workspace) -> None:
    with workspace.writing("aligned-src"):
        with pytest.raises(Busy):
            sort(workspace, Side.SRC)
        with pytest.raises(Busy):
            undo(workspace, Side.SRC)
        sort(workspace, Side.SRC, by("hist", as_list=True))


def test_a_read_only_folder_is_listed_and_not_renamed() -> None:
    with ordinary_user() as folder:
        workspace = make_workspace(folder)
        before = contents(workspace)
        workspace.src.aligned.chmod(0o555)
        with pytest.raises(ReadOnlyWorkspace, match="No permission"):
            sort(workspace, Side.SRC, by("brightness"))
        assert contents(workspace) == before
        for path in (workspace.private, workspace.private / "catalogs", workspace.private / "locks", workspace.root):
            if path.is_dir():
                path.chmod(0o555)
        assert sort(workspace, Side.SRC, by("brightness", as_list=True)).notes["kept"] == 6


def test_extraction_goes_on_after_a_sort(tmp_path: Path) -> None:
    """What was extracted before stays, under its new names, and the frames it came from are not done again."""
    from shots import small_shot
    from understudy.detection.options import ExtractOptions

    workspace = Workspace.create(tmp_path)
    small_shot(frames=8).write_frames(workspace.src.frames)
    frames = workspace.src.frame_files()
    later = [frame.rename(tmp_path / frame.name) for frame in frames[6:]]
    options = ExtractOptions.of(image_size=256)
    extract(workspace, Side.SRC, options)
    sort(workspace, Side.SRC, by("brightness", keep=4))
    kept = {path.name: path.read_bytes() for path in workspace.src.aligned.iterdir()}
    assert set(kept) == {f"{n:05d}.jpg" for n in range(4)}
    for frame in later:
        frame.rename(workspace.src.frames / frame.name)
    extract(workspace, Side.SRC, options)
    after_all = {path.name: path.read_bytes() for path in workspace.src.aligned.iterdir()}
    assert {name: after_all[name] for name in kept} == kept
    assert set(after_all) - set(kept) == {"00007_0.jpg", "00008_0.jpg"}
    assert len(list(workspace.src.aligned_trash.iterdir())) == 2


def test_a_crash_in_the_middle_of_renaming_is_finished_by_the_next_command(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    sort(workspace, Side.SRC, by("origname"))
    before = contents(workspace)
    with monkeypatch.context() as patched:
        patched.setattr(change_run.Run, "give_up", lambda self, way: None)
        renaming = change_run._rename
        left = iter([True] * 9)
        patched.setattr(change_run, "_rename", lambda old, new: next(left) and renaming(old, new))
        with pytest.raises(StopIteration):
            sort(workspace, Side.SRC, by("brightness"))
    assert any(name.startswith("aligned/.moving-") for name in contents(workspace))
    sort(workspace, Side.SRC, by("face-yaw"))
    assert sorted(contents(workspace).values()) == sorted(before.values())
    titles = [change["title"] for change in list_changes(workspace, Side.SRC)]
    assert titles == ["Sorted by face-yaw", "Sorted by brightness", "Sorted by origname"]
    undo(workspace, Side.SRC)
    undo(workspace, Side.SRC)
    assert contents(workspace) == before


def test_the_python_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "guide" / "sorting.md"
    (example,) = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    make_workspace(tmp_path / "shot")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert len(names["dullest"]) == 6


def test_the_guide_names_every_order() -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs" / "guide" / "sorting.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([a-z][a-z-]*)` \|", guide, re.MULTILINE)) == sorted(str(order) for order in SortBy)
