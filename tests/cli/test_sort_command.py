"""`faceset sort` and `faceset undo` as a person or a script types them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from made_faces import SIZE, make_meta
from understudy.cli.main import main
from understudy.facesets import encode_jpeg, write_face
from understudy.workspace import Workspace


@pytest.fixture
def faces(workspace: Workspace) -> Workspace:
    for index in range(4):
        picture = np.full((SIZE, SIZE, 3), 50 + 40 * index, np.uint8)
        write_face(workspace.src.aligned / f"{index + 1:05d}_0.jpg", encode_jpeg(picture, 95), make_meta(index))
    return workspace


def names(workspace: Workspace) -> list[str]:
    return sorted(path.name for path in workspace.src.aligned.iterdir())


def test_sort_and_undo(faces: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(faces)
    folder = ["-w", str(faces.root), "-q"]
    assert main(["faceset", "sort", "src", "--by", "brightness", "--keep", "3", "-w", str(faces.root)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "3 faces of src are sorted by brightness.",
        "1 are moved to aligned_trash.",
        "Undo: understudy faceset undo src",
    ]
    assert names(faces) == ["00000.jpg", "00001.jpg", "00002.jpg"]
    assert main(["faceset", "undo", "src", "--list", "-w", str(faces.root)]) == 0
    assert capsys.readouterr().out.strip().endswith("Sorted by brightness, 4 files")
    assert main(["faceset", "undo", "src", *folder]) == 0
    assert names(faces) == before
    assert main(["faceset", "undo", "src", *folder]) == 2


def test_a_list_for_eyes_and_for_programs(faces: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    before = names(faces)
    command = ["faceset", "sort", "src", "--by", "brightness", "--as-list", "-w", str(faces.root)]
    assert main(command) == 0
    rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [[f"{4 - n:05d}_0.jpg", f"{n:05d}.jpg"] for n in range(4)]
    assert float(rows[0][2]) == pytest.approx(170, abs=1)
    assert main([*command, "--json"]) == 0
    body = json.loads(capsys.readouterr().out)
    assert [row["file"] for row in body["order"]] == [row[0] for row in rows]
    assert names(faces) == before


def test_an_unknown_order_is_named_with_the_known_ones(faces: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faceset", "sort", "src", "--by", "beauty", "-w", str(faces.root)]) == 2
    assert "hist-dissim" in capsys.readouterr().err
    assert main(["faceset", "sort", "src", "--by", "final-by-size", "--dry-run", "-w", str(faces.root)]) == 0
    assert "would be sorted by final-fast" in capsys.readouterr().out
