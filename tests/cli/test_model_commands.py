"""model list, show, rename, copy and delete as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest
from terminal import understudy

from made_models import write_flat
from own_models import own_model
from small_faces import workspace_with_faces
from understudy.cli.model_tables import count_text, list_text, size_text
from understudy.training.saved.models import is_model
from understudy.workspace import Workspace


def test_the_list_is_a_table_that_says_what_is_unusual(workspace: Workspace) -> None:
    own_model(workspace, "hello", "liae-udtc", iteration=1234567, options={"pretrain": True})
    write_flat(workspace.models, "new")
    write_flat(workspace.models, "half").file("encoder.npy").unlink()
    done = understudy("-w", workspace.root, "model", "list")
    assert done.code == 0
    head, *rows = done.out.splitlines()
    assert head.split() == ["name", "class", "archi", "size", "face", "iteration", "on", "disk", "saved"]
    lines = {row.split()[0]: row for row in rows}
    assert "liae-udtc" in lines["hello"]
    assert "1,234,567" in lines["hello"]
    assert "pretraining" in lines["hello"]
    assert "DeepFaceLab" in lines["new"]
    assert "half_SAEHD_encoder.npy" in lines["half"]
    body = understudy("-w", workspace.root, "--json", "model", "list").body
    assert {model["name"]: model["problem"] == "" for model in body["models"]} == {
        "hello": True, "new": True, "half": False,
    }  # fmt: skip


def test_an_empty_list_says_what_comes_next(workspace: Workspace) -> None:
    assert "understudy train NAME" in understudy("-w", workspace.root, "model", "list").out
    assert list_text([]).startswith("No models yet")


def test_show_prints_what_it_is_and_names_the_curve(workspace: Workspace) -> None:
    folder = own_model(workspace, "hello", "df-ud", iteration=42, options={"pretrain": True})
    done = understudy("-w", workspace.root, "model", "show", "hello", "--batch-size", "5")
    assert done.code == 0, done.err
    for part in ("SAEHD, df-ud, 64 px", "42 iterations", "5 faces of each side", "GFLOP", "encoder"):
        assert part in done.out
    assert str(folder / "loss_curve.png") in done.out
    assert "understudy train hello --no-pretrain" in done.out
    body = understudy("-w", workspace.root, "--json", "model", "show", "hello").body
    assert body["parameters_total"] > 0
    assert understudy("-w", workspace.root, "model", "show", "hello", "--batch-size", "0").code == 2
    missing = understudy("-w", workspace.root, "--json", "model", "show", "helo")
    assert (missing.code, missing.body["error"]["code"]) == (1, "missing-model")


def test_a_model_is_renamed_copied_deleted_and_brought_back(workspace: Workspace) -> None:
    own_model(workspace, "hello", "tiny")
    at = ("-w", str(workspace.root), "model")
    assert understudy(*at, "rename", "hello", "my model").out.startswith("hello is called my model now")
    fresh = understudy(*at, "copy", "my model", "next", "--fresh")
    assert "New in it: inter." in fresh.out
    assert "understudy train next" in fresh.out
    gone = understudy("-w", workspace.root, "--json", "model", "delete", "my model")
    assert Path(gone.body["trash"]).is_dir()
    assert gone.body["undo"] == "understudy model delete 'my model' --undo"
    assert not is_model(workspace.model("my model"))
    assert understudy(*at, "delete", "my model", "--undo").code == 0
    assert is_model(workspace.model("my model"))
    assert understudy(*at, "rename", "next", "my model").code == 2


def test_a_mask_network_is_copied_and_shown_in_its_own_words(workspace: Workspace) -> None:
    """It is not trained here and draws no faces: nobody is sent to commands that refuse it."""
    own_model(workspace, "XSeg", "XSeg-small", iteration=1, losses=1)
    at = ("-w", str(workspace.root), "model")
    assert "Next" not in understudy(*at, "copy", "XSeg", "other", "--fresh").out
    shown = understudy(*at, "show", "XSeg").out
    assert "find the mask of a face" in shown
    assert "merge with" not in shown
    assert "1 iteration\n" in shown


def test_a_new_model_starts_from_one_that_is_named(tmp_path: Path) -> None:
    """A name is a name, not a path from where the command was typed."""
    workspace = workspace_with_faces(tmp_path)
    own_model(workspace, "old", "tiny")
    train = ("-w", str(workspace.root), "train", "new", "--pretrained")
    done = understudy(*train, "old", "--target-iter", "1", "--batch-size", "1", "--threads", "1")
    assert done.code == 0, done.err
    assert "starts from old" in done.err
    missing = understudy("--json", *train[:2], "train", "newer", "--pretrained", "nobody")
    assert (missing.code, missing.body["error"]["code"]) == (1, "missing-model")


def test_options_that_exclude_each_other_are_named_as_typed(workspace: Workspace) -> None:
    own_model(workspace, "hello", "tiny")
    done = understudy("-w", workspace.root, "model", "export-dfm", "hello", "--quantize", "--int8")
    assert done.code == 2
    assert "--quantize and --int8 exclude each other" in done.err
    assert "understudy model export-dfm --help" in done.err


def test_words_for_sizes() -> None:
    assert [size_text(count) for count in (900, 310e6, 1.25e9)] == ["1 kB", "310 MB", "1.2 GB"]
    assert [count_text(count) for count in (41_000, 38_294_330)] == ["41 k", "38.3 M"]


@pytest.mark.parametrize("command", ["list", "show", "rename", "copy", "delete"])
def test_every_command_says_what_it_does(command: str) -> None:
    done = understudy("model", command, "--help")
    assert done.code == 0
    assert "Usage" in done.out
