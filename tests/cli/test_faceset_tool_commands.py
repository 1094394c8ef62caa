"""The faceset tools from a terminal: flags reach the stage, results say what happened and how to undo it."""

from __future__ import annotations

import pytest
from terminal import understudy

from made_faces import make_jpeg, make_meta
from understudy.facesets import write_face
from understudy.workspace import Workspace


@pytest.fixture
def faces(workspace: Workspace) -> Workspace:
    for index in range(3):
        write_face(workspace.src.aligned / f"{index:05d}.jpg", make_jpeg(index), make_meta(index))
    return workspace


def test_pack_unpack_and_names(faces: Workspace) -> None:
    where = ["-w", faces.root, "faceset"]
    packed = understudy("--json", *where, "pack", "src", "--delete-originals")
    assert (packed.code, packed.body["faces"], packed.body["originals_moved"]) == (0, 3, True)
    assert [path.name for path in faces.src.aligned.iterdir()] == ["faceset.pak"]
    again = understudy("--json", *where, "pack", "src")
    assert (again.code, again.body["error"]["code"]) == (2, "usage-error")
    unpacked = understudy("--json", *where, "unpack", "src")
    assert (unpacked.code, unpacked.body["faces"]) == (0, 3)
    named = understudy("--json", *where, "restore-names", "src")
    assert (named.code, named.body["renamed"]) == (0, 3)
    assert sorted(path.name for path in faces.src.aligned.iterdir()) == [f"0000{n}_0.jpg" for n in (1, 2, 3)]


def test_resize_says_where_and_how_to_undo(faces: Workspace) -> None:
    done = understudy("-w", faces.root, "faceset", "resize", "src", "--image-size", "128", "--replace")
    assert done.code == 0
    assert "Resized: 3 faces" in done.out
    assert "Undo: understudy faceset undo src" in done.out
    told = understudy("--json", "-w", faces.root, "faceset", "info", "src")
    assert told.body["sizes"] == {"128": 3}
    assert understudy("-w", faces.root, "faceset", "resize", "src", "--image-size", "64").code == 2
