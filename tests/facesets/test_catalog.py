"""The catalog: everything a folder holds, known without opening every file again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from made_faces import make_jpeg, make_labelled_meta, make_meta
from understudy.errors import EmptyFaceset, UnreadableFace
from understudy.facesets import Catalog, catalog_cache, encode_jpeg, pickles, write_face, write_meta
from understudy.facesets import catalog as catalog_module
from understudy.facesets.catalog_cache import cache_name
from understudy.facesets.metadata import to_dict
from understudy.records import Rect
from understudy.report import Progress

MakeFaceset = Callable[[int], Path]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The pictures that were looked into, in order."""
    paths: list[Path] = []
    real = catalog_module.row_of_file

    def counting(folder: Path, key: str, stamp: tuple[int, int], head: bytes | OSError) -> object:
        paths.append(folder / key)
        return real(folder, key, stamp, head)

    monkeypatch.setattr(catalog_module, "row_of_file", counting)
    return paths


def test_faces_in_order_with_their_data(faceset: MakeFaceset) -> None:
    with Catalog.open(faceset(5)) as catalog:
        faces = catalog.faces()
        assert len(catalog) == len(faces) == 5
        assert [face.name for face in faces] == [f"{n:05d}_0.jpg" for n in range(1, 6)]
        for index, face in enumerate(faces):
            assert pickles.dumps(to_dict(face.meta)) == pickles.dumps(to_dict(make_meta(index)))
            assert face.read().rgb8.shape == (face.height, face.width, 3)
            assert face.read_bytes() == face.path.read_bytes()
        assert catalog.skipped == []
        assert catalog.persons == []


def test_faces_by_frame(faceset: MakeFaceset) -> None:
    folder = faceset(3)
    write_face(folder / "00002_1.jpg", make_jpeg(9), make_meta(1))
    write_face(folder / "nameless.jpg", make_jpeg(9), make_meta(1).but(source_filename=None))
    with Catalog.open(folder) as catalog:
        by_frame = catalog.by_frame()
        assert sorted(by_frame) == ["00001", "00002", "00003"]
        assert [face.name for face in by_frame["00002"]] == ["00002_0.jpg", "00002_1.jpg"]
        assert len(catalog) == 5


def test_masks_and_labels_are_known_without_reading(faceset: MakeFaceset) -> None:
    folder = faceset(1)
    write_face(folder / "labelled.jpg", make_jpeg(), make_labelled_meta())
    with Catalog.open(folder) as catalog:
        plain, labelled = catalog.faces()
        assert (plain.is_labelled, plain.has_mask) == (False, False)
        assert (labelled.is_labelled, labelled.has_mask) == (True, True)
        assert pickles.dumps(to_dict(labelled.meta)) == pickles.dumps(to_dict(make_labelled_meta()))


def test_a_second_opening_reads_only_what_changed(faceset: MakeFaceset, tmp_path: Path, opened: list[Path]) -> None:
    folder, cache = faceset(6), tmp_path / "cache"
    Catalog.open(folder, cache=cache).close()
    assert len(opened) == 6
    opened.clear()
    Catalog.open(folder, cache=cache).close()
    assert opened == []
    changed = folder / "00003_0.jpg"
    write_meta(changed, make_meta(2).but(source_filename="99999.png"))
    (folder / "00001_0.jpg").unlink()
    write_face(folder / "new.jpg", make_jpeg(), make_meta(77))
    with Catalog.open(folder, cache=cache) as catalog:
        assert sorted(path.name for path in opened) == ["00003_0.jpg", "new.jpg"]
        assert len(catalog) == 6
        assert "99999" in catalog.by_frame()
        assert "00001" not in catalog.by_frame()


def test_refresh_sees_changes_of_the_open_folder(faceset: MakeFaceset) -> None:
    folder = faceset(2)
    with Catalog.open(folder) as catalog:
        gone = catalog.faces()[0]
        gone.path.unlink()
        write_face(folder / "new.jpg", make_jpeg(), make_meta(5))
        catalog.refresh()
        assert [face.name for face in catalog] == ["00002_0.jpg", "new.jpg"]
        with pytest.raises(UnreadableFace, match="left the faceset"):
            _ = gone.meta


def test_what_only_we_store_is_known_of_every_entry(faceset: MakeFaceset) -> None:
    folder = faceset(1)
    meta = make_meta(3).but(confidence=0.25, track=7, group="ada")
    write_face(folder / "known.jpg", make_jpeg(), meta)
    with Catalog.open(folder) as catalog:
        plain, known = catalog.faces()
        assert (plain.confidence, plain.track, plain.group, plain.who) == (None, None, None, None)
        assert (known.confidence, known.track, known.group, known.who) == (0.25, 7, "ada", "ada")
        assert known.source_rect == meta.source_rect == Rect(250, 260, 560, 580)
        assert (known.meta.confidence, known.meta.track, known.meta.group) == (0.25, 7, "ada")


def test_renamed_files_are_not_read_again(faceset: MakeFaceset, tmp_path: Path, opened: list[Path]) -> None:
    """A permutation, a new name and a name that stood there before: the catalog follows without opening anything."""
    folder, cache = faceset(4), tmp_path / "cache"
    moves = [("00001_0.jpg", "00002_0.jpg"), ("00002_0.jpg", "00001_0.jpg"), ("00003_0.jpg", "00004_0.jpg")]
    moves += [("unknown.jpg", "also.jpg")]
    with Catalog.open(folder, cache=cache) as catalog:
        for old, _ in moves[:3]:
            (folder / old).rename(folder / f"between-{old}")
        for old, new in moves[:3]:
            (folder / f"between-{old}").replace(folder / new)
        opened.clear()
        catalog.renamed(moves)
        assert {face.name: face.source_filename for face in catalog} == {
            "00001_0.jpg": "00002.png",
            "00002_0.jpg": "00001.png",
            "00004_0.jpg": "00003.png",
        }
        catalog.refresh()
        assert len(catalog) == 3
    with Catalog.open(folder, cache=cache) as catalog:
        assert [face.meta.source_filename for face in catalog] == ["00002.png", "00001.png", "00003.png"]
    assert opened == []


def test_renaming_into_a_person_makes_it_theirs(faceset: MakeFaceset) -> None:
    folder = faceset(2)
    with Catalog.open(folder) as catalog:
        catalog.renamed([("00001_0.jpg", "ada/1.jpg"), ("00002_0.jpg", "bob/1.jpg")])
        assert [(face.person, face.who, face.name) for face in catalog] == [
            ("ada", "ada", "1.jpg"),
            ("bob", "bob", "1.jpg"),
        ]


def test_unreadable_pictures_are_named_and_read_once(
    faceset: MakeFaceset, tmp_path: Path, jpeg: bytes, opened: list[Path]
) -> None:
    folder, cache = faceset(1), tmp_path / "cache"
    (folder / "plain.jpg").write_bytes(jpeg)
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "noise.JPEG").write_bytes(os.urandom(2000))
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (folder / "._00001_0.jpg").write_bytes(b"left by a file manager")
    (folder / "notes.txt").write_text("not a picture")
    write_face(folder / "pointless.jpg", jpeg, make_meta().but(landmarks=np.zeros((0, 2))))
    for _ in range(2):
        with Catalog.open(folder, cache=cache) as catalog:
            assert len(catalog) == 1
            reasons = {skipped.item: skipped.reason for skipped in catalog.skipped}
    assert sorted(reasons) == ["empty.jpg", "noise.JPEG", "picture.png", "plain.jpg", "pointless.jpg"]
    assert reasons["plain.jpg"] == "This picture has no face data."
    assert "no landmarks" in reasons["pointless.jpg"]
    assert len(opened) == 6, "unreadable files are remembered too"


@pytest.mark.parametrize("damage", [b"", b"not a database at all" * 500, None], ids=["empty", "noise", "overwritten"])
def test_a_damaged_cache_is_rebuilt(faceset: MakeFaceset, tmp_path: Path, damage: bytes | None) -> None:
    folder, cache = faceset(4), tmp_path / "cache"
    Catalog.open(folder, cache=cache).close()
    path = cache / cache_name(folder)
    content = bytearray(path.read_bytes())
    if damage is None:
        content[1000:] = b"\xaa" * (len(content) - 1000)
    path.write_bytes(damage if damage is not None else bytes(content))
    with Catalog.open(folder, cache=cache) as catalog:
        assert len(catalog) == 4
        assert all(face.meta.has_landmarks for face in catalog)


def test_a_cache_that_cannot_be_written_is_done_without(faceset: MakeFaceset, tmp_path: Path) -> None:
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file where the folder should be")
    with Catalog.open(faceset(2), cache=in_the_way) as catalog:
        assert len(catalog) == 2


def test_a_locked_cache_is_done_without_and_kept(
    faceset: MakeFaceset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog_cache, "_PATIENCE_SECS", 0.1)
    folder, cache = faceset(3), tmp_path / "cache"
    Catalog.open(folder, cache=cache).close()
    write_face(folder / "new.jpg", make_jpeg(), make_meta(5))
    other = sqlite3.connect(cache / cache_name(folder))
    other.execute("begin exclusive")
    with Catalog.open(folder, cache=cache) as catalog:
        assert len(catalog) == 4
    other.rollback()
    assert other.execute("select count(*) from faces").fetchone() == (3,)
    other.close()


def test_a_cache_that_cannot_be_written_any_more_is_done_without(
    faceset: MakeFaceset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training looks at its facesets for days; whatever happens to the cache's disk must not end it."""
    monkeypatch.setattr(catalog_cache, "_PATIENCE_SECS", 0.1)
    folder, cache = faceset(3), tmp_path / "cache"
    with Catalog.open(folder, cache=cache) as catalog:
        before = catalog.revision
        write_face(folder / "new.jpg", make_jpeg(), make_meta(5))
        other = sqlite3.connect(cache / cache_name(folder))
        other.execute("begin immediate")
        catalog.refresh()
        assert len(catalog) == 4
        assert catalog.revision != before
        other.close()


def test_a_scan_that_dies_keeps_what_it_read(
    faceset: MakeFaceset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Path]
) -> None:
    monkeypatch.setattr(catalog_module, "_BATCH", 4)
    folder, cache = faceset(10), tmp_path / "cache"

    def dies() -> bool:
        if len(opened) >= 8:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        Catalog.open(folder, cache=cache, stop=dies)
    opened.clear()
    with Catalog.open(folder, cache=cache) as catalog:
        assert len(catalog) == 10
    assert len(opened) == 2


def test_folders_of_the_same_name_have_caches_of_their_own(tmp_path: Path) -> None:
    assert cache_name(tmp_path / "a" / "aligned") != cache_name(tmp_path / "b" / "aligned")


def test_one_folder_per_person(faceset: MakeFaceset, tmp_path: Path) -> None:
    folder = faceset(4)
    for index, person in enumerate(["ada", "ada", "bob", "bob"]):
        (folder / person).mkdir(exist_ok=True)
        (folder / f"{index + 1:05d}_0.jpg").rename(folder / person / f"{index % 2}.jpg")
    with Catalog.open(folder) as catalog:
        assert catalog.persons == ["ada", "bob"]
        assert [(face.person, face.name) for face in catalog] == [
            ("ada", "0.jpg"),
            ("ada", "1.jpg"),
            ("bob", "0.jpg"),
            ("bob", "1.jpg"),
        ]
        assert [face.person for face in catalog.faces(person="bob")] == ["bob", "bob"]
        assert all(face.read().meta.has_landmarks for face in catalog)
        assert catalog.faces()[3].meta.source_filename == "00004.png"


def test_sub_folders_beside_loose_faces_are_left_alone(faceset: MakeFaceset) -> None:
    folder = faceset(2)
    shutil.copytree(folder, folder.parent / "copy")
    (folder.parent / "copy").rename(folder / "rejects")
    with Catalog.open(folder) as catalog:
        assert len(catalog) == 2
        assert catalog.persons == []


def test_empty_facesets(tmp_path: Path, jpeg: bytes) -> None:
    with pytest.raises(EmptyFaceset, match="does not exist"):
        Catalog.open(tmp_path / "data_dst" / "aligned")
    folder = tmp_path / "data_dst" / "aligned"
    folder.mkdir(parents=True)
    with Catalog.open(folder) as catalog, pytest.raises(EmptyFaceset) as caught:
        catalog.require_faces()
    assert "extract dst" in caught.value.hint
    (folder / "plain.jpg").write_bytes(jpeg)
    with Catalog.open(folder) as catalog, pytest.raises(EmptyFaceset, match="1 pictures but none"):
        catalog.require_faces()


def test_many_threads_may_ask(faceset: MakeFaceset) -> None:
    wrong: list[BaseException] = []
    with Catalog.open(faceset(20)) as catalog:

        def ask() -> None:
            try:
                for face in catalog.faces():
                    assert face.meta.source_filename == f"{int(face.name[:5]):05d}.png"
                catalog.refresh()
                assert len(catalog.by_frame()) == 20
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_two_catalogs_of_one_folder_share_the_cache(faceset: MakeFaceset, tmp_path: Path) -> None:
    folder = faceset(3)
    with Catalog.open(folder, cache=tmp_path / "c") as one, Catalog.open(folder, cache=tmp_path / "c") as other:
        write_face(folder / "new.jpg", make_jpeg(), make_meta(5))
        one.refresh()
        other.refresh()
        assert len(one) == len(other) == 4


def test_progress_is_reported_and_stopping_keeps_what_was_read(
    faceset: MakeFaceset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[Path]
) -> None:
    monkeypatch.setattr(catalog_module, "_BATCH", 4)
    folder, cache = faceset(10), tmp_path / "cache"
    events: list[object] = []
    with Catalog.open(folder, cache=cache, report=events.append, stop=lambda: len(opened) >= 4) as catalog:
        assert len(catalog) == 4
    with Catalog.open(folder, cache=cache, report=events.append) as catalog:
        assert len(catalog) == 10
    assert len(opened) == 10
    last = events[-1]
    assert isinstance(last, Progress)
    assert (last.done, last.total, last.unit) == (6, 6, "faces")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
def test_names_that_are_no_text_are_listed(faceset: MakeFaceset) -> None:
    folder = faceset(1)
    bad = os.fsencode(folder) + b"/\xff\xfe.jpg"
    Path(os.fsdecode(bad)).write_bytes((folder / "00001_0.jpg").read_bytes())
    with Catalog.open(folder) as catalog:
        assert len(catalog) == 1
        assert [skipped.item for skipped in catalog.skipped] == [r"\udcff\udcfe.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_that_lead_nowhere(faceset: MakeFaceset) -> None:
    """A dangling link is no file; one that leads to itself is named, and does not end the command."""
    folder = faceset(count=2)
    (folder / "dangling.jpg").symlink_to("nowhere")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    with Catalog.open(folder) as catalog:
        assert len(catalog) == 2
        assert [item.item for item in catalog.skipped] == ["loop.jpg"]


def test_uppercase_and_unusual_names(tmp_path: Path) -> None:
    for name in ("FACE.JPG", "näme with späces.jpeg", "-dash.jpg", "100%.jpg"):
        write_face(tmp_path / name, encode_jpeg(np.zeros((64, 64, 3), np.uint8), 90), make_meta())
    with Catalog.open(tmp_path) as catalog:
        assert len(catalog) == 4
        assert all(face.meta.has_landmarks for face in catalog)
