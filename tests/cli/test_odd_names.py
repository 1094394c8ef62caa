"""Names that are no text, links that lead nowhere, and what is in the way, met through the real command line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from terminal import understudy

from made_models import write_flat
from small_faces import workspace_with_faces
from understudy.records import Side
from understudy.stages.meta_backup import save_meta
from understudy.stages.pack import pack
from understudy.workspace import Workspace

NO_TEXT = os.fsdecode(b"who\xff")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return workspace_with_faces(tmp_path / "shot", count=3)


def called(path: Path) -> Path:
    """The path; skips the test where no file can have such a name."""
    try:
        path.touch()
    except OSError:
        pytest.skip("this system does not take such names")
    return path


def test_a_picture_whose_name_is_no_text_is_named_spelled_out(workspace: Workspace) -> None:
    save_meta(workspace, Side.SRC)
    called(workspace.src.aligned / f"{NO_TEXT}.jpg").write_bytes(b"no picture")
    done = understudy("-w", workspace.root, "--json", "faceset", "restore-meta", "src")
    assert (done.code, done.body["unchanged"]) == (0, 3), done
    assert [row["item"] for row in done.body["skipped"]] == [f"{NO_TEXT}.jpg"]
    assert understudy("-w", workspace.root, "faceset", "restore-meta", "src").code == 0


def test_an_error_may_name_such_a_picture(workspace: Workspace) -> None:
    pack(workspace, Side.SRC)
    face = next(workspace.src.aligned.glob("*.jpg")).read_bytes()
    called(workspace.src.aligned / f"{NO_TEXT}.jpg").write_bytes(face)
    done = understudy("-w", workspace.root, "--json", "faceset", "unpack", "src")
    assert (done.code, done.body["error"]["code"]) == (2, "usage-error"), done


def test_the_folder_of_a_person_whose_name_is_no_text_hides_no_other(workspace: Workspace) -> None:
    anna, other = workspace.src.aligned / "anna", workspace.src.aligned / NO_TEXT
    called(other).unlink()
    for folder in (anna, other):
        folder.mkdir()
    for path in sorted(workspace.src.aligned.glob("*.jpg")):
        path.rename((other if path.name.startswith("00001") else anna) / path.name)
    done = understudy("-w", workspace.root, "--json", "faceset", "info", "src")
    assert (done.code, done.body["faces"]) == (0, 2), done
    assert len(done.body["skipped"]) == 1


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("command", ["save-meta", "restore-meta", "pack", "unpack", "info"])
def test_a_link_that_leads_to_itself_is_no_obstacle(workspace: Workspace, command: str) -> None:
    if command == "restore-meta":
        save_meta(workspace, Side.SRC)
    if command == "unpack":
        pack(workspace, Side.SRC)
    for name in ("loop.jpg", "loop"):
        (workspace.src.aligned / name).symlink_to(name)
    done = understudy("-w", workspace.root, "--json", "faceset", command, "src")
    assert done.code == 0, done


@pytest.mark.parametrize(
    ("line", "folder"),
    [
        ("pack src", "data_src/aligned/faceset.pak"),
        ("review src", ".understudy/review/src.json"),
        ("save-meta src", ""),
    ],
)
def test_what_is_in_the_way_is_named(workspace: Workspace, line: str, folder: str) -> None:
    if folder:
        (workspace.root / folder).mkdir(parents=True)
    else:
        workspace.private.rename(workspace.root / "private")
        workspace.private.write_text("a file")
    done = understudy("-w", workspace.root, "--json", "faceset", *line.split())
    assert (done.code, done.body["error"]["code"]) == (1, "workspace-error"), done
    assert str(workspace.root / folder) in done.body["error"]["hint"]
    assert len(list(workspace.src.aligned.glob("*.jpg"))) == 3


def test_a_model_whose_name_is_no_text_is_skipped_and_named(tmp_path: Path) -> None:
    small = {"resolution": 16, "ae_dims": 2, "e_dims": 1, "d_dims": 1, "d_mask_dims": 1}
    workspace, folder = Workspace.create(tmp_path / "shot"), tmp_path / "elsewhere"
    write_flat(folder, "plain", archi="df", **small)
    called(folder / f"{NO_TEXT}_SAEHD_data.dat")
    write_flat(folder, NO_TEXT, archi="df", **small)
    done = understudy("-w", workspace.root, "--json", "model", "import", folder, "--all")
    assert (done.code, [model["name"] for model in done.body["models"]]) == (0, ["plain"]), done
    assert [row["item"] for row in done.body["skipped"]] == [f"{NO_TEXT}_SAEHD"]
    done = understudy("-w", workspace.root, "--json", "model", "export-dfm", NO_TEXT)
    assert (done.code, done.body["error"]["code"]) == (2, "usage-error"), done
