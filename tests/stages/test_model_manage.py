"""Models are renamed, copied, deleted and started from, and nothing is lost on the way."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from disks import fill, small_disk
from made_models import write_flat
from mortal import Mortal, mortal
from own_models import own_model
from understudy.errors import Busy, DiskFull, IncompatibleModel, MissingModel, ReadOnlyWorkspace, UsageError
from understudy.stages.load_model import load_model
from understudy.stages.model_copy import copy_model
from understudy.stages.model_manage import delete_model, rename_model, restore_model
from understudy.stages.model_start import pretrained_folder
from understudy.stages.models import list_models
from understudy.training.saved.checkpoints import Checkpoint, CheckpointStore
from understudy.training.saved.models import is_model, read_record
from understudy.workspace import Workspace
from users import ordinary_user


@pytest.fixture
def shot(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "shot")


@pytest.fixture(scope="module")
def killer() -> Iterator[Mortal]:
    with mortal() as run:
        yield run


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def newest(folder: Path) -> Checkpoint:
    found = CheckpointStore(folder).newest()
    assert found is not None
    return found


def names(workspace: Workspace) -> list[str]:
    return sorted(model.name for model in list_models(workspace))


# -- ours


def test_a_renamed_model_is_the_same_under_another_name(shot: Workspace) -> None:
    before = contents(own_model(shot, "hello", "tiny"))
    result = rename_model(shot, "hello", "good bye")
    after = contents(shot.model("good bye"))
    assert names(shot) == ["good bye"]
    assert {key: after[key] for key in after if key != "model.json"} == {
        key: before[key] for key in before if key != "model.json"
    }
    assert read_record(shot.model("good bye")).events[-1]["text"] == "Renamed from hello."
    assert result.outputs == [shot.model("good bye")]


def test_a_deleted_model_comes_back_as_it_was(shot: Workspace) -> None:
    before = contents(own_model(shot, "hello", "tiny"))
    result = delete_model(shot, "hello")
    assert names(shot) == []
    assert (result.outputs[0] / "hello" / "model.json").is_file()
    assert result.outputs[0].is_relative_to(shot.private / "trash")
    restore_model(shot, "hello")
    assert contents(shot.model("hello")) == before
    with pytest.raises(UsageError, match="No model hello has been deleted"):
        restore_model(shot, "hello")


def test_the_model_deleted_last_comes_back_first_and_never_over_a_new_one(shot: Workspace) -> None:
    own_model(shot, "hello", "tiny", iteration=1)
    delete_model(shot, "hello")
    own_model(shot, "hello", "tiny", iteration=2)
    delete_model(shot, "hello")
    own_model(shot, "hello", "tiny", iteration=3)
    with pytest.raises(UsageError, match="Something new"):
        restore_model(shot, "hello")
    rename_model(shot, "hello", "third")
    restore_model(shot, "hello")
    assert newest(shot.model("hello")).iteration == 2


def test_a_model_whose_name_ends_as_anothers_is_not_taken_for_it(shot: Workspace) -> None:
    own_model(shot, "a-model-b", "tiny")
    delete_model(shot, "a-model-b")
    with pytest.raises(UsageError, match="No model b has been deleted"):
        restore_model(shot, "b")


def test_a_copy_is_equal_and_takes_no_room_for_saved_states(shot: Workspace) -> None:
    old = own_model(shot, "old", "tiny")
    CheckpointStore(old).back_up(old / "checkpoints" / "000000004")
    (old / "damaged" / "000000003-x").mkdir(parents=True)
    copy_model(shot, "old", "new")
    new = shot.model("new")
    assert contents(new).keys() == contents(old).keys()
    weights = "checkpoints/000000004/weights.safetensors"
    assert (new / weights).samefile(old / weights)
    assert not (new / "history.jsonl").samefile(old / "history.jsonl")
    assert not (new / "damaged").exists()
    assert read_record(new).config == read_record(old).config


def test_training_a_copy_leaves_the_original_alone(shot: Workspace) -> None:
    """The copy shares files, so what it replaces must not be replaced in the original."""
    old = own_model(shot, "old", "tiny")
    before = contents(old)
    copy_model(shot, "old", "new")
    store = CheckpointStore(shot.model("new"), keep=1)
    store.save(9, weights=newest(shot.model("new")).weights, optimiser=None, state={})
    with (shot.model("new") / "history.jsonl").open("ab") as history:
        history.write(b"{}\n")
    delete_model(shot, "new")
    assert contents(old) == before


@pytest.mark.parametrize("new", ["old", "OLD", "XSeg", "a/b", "..", ".hidden", "", "x" * 300, "folder", "flat"])
def test_names_that_are_taken_reserved_or_none_are_refused(shot: Workspace, new: str) -> None:
    own_model(shot, "old", "tiny")
    own_model(shot, "other", "tiny")
    write_flat(shot.models, "flat")
    (shot.models / "folder").mkdir()
    before = contents(shot.models)
    with pytest.raises(UsageError):
        rename_model(shot, "other", new)
    with pytest.raises(UsageError):
        copy_model(shot, "other", new)
    with pytest.raises(UsageError):
        copy_model(shot, "other", new, fresh=True)
    assert contents(shot.models) == before


def test_letter_case_of_a_name_can_be_changed(shot: Workspace) -> None:
    own_model(shot, "hello", "tiny")
    rename_model(shot, "hello", "Hello")
    assert names(shot) == ["Hello"]


def test_a_missing_model_is_named_with_those_that_there_are(shot: Workspace) -> None:
    own_model(shot, "hello", "tiny")
    for work in (lambda: delete_model(shot, "helo"), lambda: rename_model(shot, "helo", "x")):
        with pytest.raises(MissingModel, match="helo") as missing:
            work()
        assert "hello" in missing.value.hint
    with pytest.raises(MissingModel):
        copy_model(shot, "helo", "x")


def test_a_model_in_training_stays_where_it_is(shot: Workspace) -> None:
    own_model(shot, "hello", "tiny")
    before = contents(shot.models)
    with shot.writing("model-hello"):
        for work in (
            lambda: rename_model(shot, "hello", "new"),
            lambda: delete_model(shot, "hello"),
            lambda: copy_model(shot, "hello", "new"),
            lambda: copy_model(shot, "hello", "new", fresh=True),
        ):
            with pytest.raises(Busy):
                work()
    with shot.writing("model-new"), pytest.raises(Busy):
        copy_model(shot, "hello", "new")
    assert contents(shot.models) == before


def test_a_model_with_a_broken_record_can_be_renamed_and_deleted(shot: Workspace) -> None:
    folder = own_model(shot, "hello", "tiny")
    (folder / "model.json").write_text("{")
    rename_model(shot, "hello", "torn")
    delete_model(shot, "torn")
    assert names(shot) == []


def test_a_trash_on_another_disk_takes_the_model_too(shot: Workspace) -> None:
    """People keep models on their large disk, behind a link."""
    with small_disk(mib=8) as disk:
        shot.models.rmdir()
        shot.models.symlink_to(disk)
        before = contents(own_model(shot, "hello", "tiny"))
        trash = delete_model(shot, "hello").outputs[0]
        assert contents(trash / "hello") == before
        assert list(disk.iterdir()) == []
        restore_model(shot, "hello")
        assert contents(shot.model("hello")) == before


def test_a_read_only_folder_of_models_is_said_and_nothing_moves() -> None:
    with ordinary_user() as folder:
        shot = Workspace.create(folder / "shot")
        own_model(shot, "hello", "tiny")
        before = contents(shot.models)
        shot.models.chmod(0o555)
        for work in (
            lambda: rename_model(shot, "hello", "new"),
            lambda: delete_model(shot, "hello"),
            lambda: copy_model(shot, "hello", "new"),
            lambda: copy_model(shot, "hello", "new", fresh=True),
        ):
            with pytest.raises(ReadOnlyWorkspace):
                work()
        assert contents(shot.models) == before
        assert not list((shot.private / "trash").glob("*")) if (shot.private / "trash").is_dir() else True


def test_a_full_disk_leaves_no_half_copy() -> None:
    with small_disk(mib=48) as disk:
        shot = Workspace.create(disk / "shot")
        own_model(shot, "hello", "tiny")
        before = contents(shot.models)
        ballast = fill(disk)
        with pytest.raises(DiskFull):
            copy_model(shot, "hello", "new", fresh=True)
        assert contents(shot.models) == before
        ballast.unlink()
        copy_model(shot, "hello", "new", fresh=True)


# -- flat files


def test_only_the_files_of_that_model_and_class_are_renamed(shot: Workspace) -> None:
    """The reference renames everything with the same first word."""
    flat = write_flat(shot.models, "new")
    write_flat(shot.models, "new", "AMP")
    write_flat(shot.models, "new_SAEHD_two")
    slot = shot.models / "new_SAEHD_autobackups" / "01"
    slot.mkdir(parents=True)
    shutil.copy(flat.file("encoder.npy"), slot)
    (shot.models / "new_SAEHD_history").mkdir()
    (shot.models / "new_SAEHD_history" / "0000001.jpg").write_bytes(b"x")
    (shot.models / "SAEHD_default_options.dat").write_bytes(b"x")
    before = contents(shot.models)
    result = rename_model(shot, "new_SAEHD", "b", model_class="saehd")
    after = contents(shot.models)
    of_it = {name for name in before if name.startswith("new_SAEHD_") and "_two_" not in name}
    assert result.notes["files"] == len(of_it)
    assert after.keys() - before.keys() == {name.replace("new_SAEHD_", "b_SAEHD_") for name in of_it}
    assert before.keys() - after.keys() == of_it
    assert "b_SAEHD_autobackups/01/b_SAEHD_encoder.npy" in after
    assert after["b_SAEHD_encoder.npy"] == before["new_SAEHD_encoder.npy"]
    assert not list(shot.models.glob("new_SAEHD_autobackups"))


def test_flat_files_go_to_the_trash_and_come_back(shot: Workspace) -> None:
    write_flat(shot.models, "new")
    write_flat(shot.models, "other", "AMP")
    (shot.models / "new_SAEHD_autobackups" / "01").mkdir(parents=True)
    (shot.models / "new_SAEHD_autobackups" / "01" / "new_SAEHD_data.dat").write_bytes(b"x")
    before = contents(shot.models)
    delete_model(shot, "new")
    assert names(shot) == ["other"]
    assert not list(shot.models.glob("new_*"))
    restore_model(shot, "new")
    assert contents(shot.models) == before


def test_deleting_an_imported_model_says_that_its_flat_files_are_still_there(shot: Workspace) -> None:
    write_flat(shot.models, "new")
    copy_model(shot, "new", "ours")
    rename_model(shot, "new", "old")
    rename_model(shot, "old", "new")
    own_model(shot, "new", "tiny")
    assert "new_SAEHD_*" in delete_model(shot, "new").notes["note"]
    assert names(shot) == ["new", "ours"]
    assert "note" not in delete_model(shot, "new").notes
    assert names(shot) == ["ours"]


def test_a_copy_of_flat_files_is_a_model_of_ours(shot: Workspace) -> None:
    flat = write_flat(shot.models, "new", iteration=77)
    before = {path: path.read_bytes() for path in shot.models.glob(f"{flat.prefix}*")}
    copy_model(shot, "new", "mine")
    assert is_model(shot.model("mine"))
    assert newest(shot.model("mine")).iteration == 77
    assert {path: path.read_bytes() for path in shot.models.glob(f"{flat.prefix}*")} == before


def test_a_dfm_file_is_renamed_and_deleted_alone(shot: Workspace) -> None:
    write_flat(shot.models, "new")
    (shot.models / "live.dfm").write_bytes(b"x")
    rename_model(shot, "live.dfm", "stage")
    assert (shot.models / "stage.dfm").is_file()
    delete_model(shot, "stage")
    assert names(shot) == ["new"]
    restore_model(shot, "stage")
    assert (shot.models / "stage.dfm").read_bytes() == b"x"
    with pytest.raises(IncompatibleModel, match="dfm"):
        copy_model(shot, "stage", "x", fresh=True)


def test_what_was_exported_of_flat_files_is_no_part_of_them(shot: Workspace) -> None:
    """It is listed as a model of its own, or is of no use here: deleting the model must not take it along."""
    write_flat(shot.models, "new")
    (shot.models / "new_SAEHD_model.dfm").write_bytes(b"x")
    write_flat(shot.models, "XSeg", "XSeg")
    (shot.models / "XSeg_model.onnx").write_bytes(b"x")
    sizes = {model.name: model.size_bytes for model in list_models(shot)}
    rename_model(shot, "new", "next")
    delete_model(shot, "next")
    assert {model.name: model.size_bytes for model in list_models(shot)} == {
        name: size for name, size in sizes.items() if name != "new"
    }
    with pytest.raises(MissingModel):
        load_model(shot.models / "XSeg_model.onnx")


# -- starting from a trained model


@pytest.mark.parametrize(("kind", "anew"), [
    ("df-ud", ["inter"]), ("liae", ["inter_AB", "inter_B"]), ("AMP", []), ("Quick96-small", []), ("XSeg-small", []),
])  # fmt: skip
def test_a_fresh_start_keeps_and_resets_what_the_reference_does(shot: Workspace, kind: str, anew: list[str]) -> None:
    old = newest(own_model(shot, "old", kind, iteration=4, judged=not kind.endswith("small")))
    result = copy_model(shot, "old", "new", fresh=True)
    found = newest(shot.model("new"))
    record = read_record(shot.model("new"))
    assert sorted(result.notes["fresh"]) == sorted(anew)
    assert (found.iteration, found.state["images"]) == (0, 0)
    assert not (shot.model("new") / "history.jsonl").exists()
    for name, tensor in found.weights.items():
        is_new = name.split(".")[0] in anew and not name.endswith("bias")
        assert torch.equal(tensor, old.weights[name]) != is_new or tensor.numel() == 0 or name.endswith("bias")
    assert not any(name.startswith(("gan.", "code_discriminator.")) for name in found.weights)
    assert (found.optimiser is not None) == kind.endswith("small")
    assert record.started_from["model"] == "old"
    assert record.started_from["iteration"] == 4
    assert record.started_from["fresh"] == result.notes["fresh"]
    assert record.events[-1]["event"] == "started"


def test_the_end_of_pretraining_keeps_the_moments_of_weights_that_stay(shot: Workspace) -> None:
    old = newest(own_model(shot, "old", "df-ud", options={"pretrain": True, "batch_size": 6}, judged=True))
    copy_model(shot, "old", "new", fresh=True)
    found, record = newest(shot.model("new")), read_record(shot.model("new"))
    assert found.optimiser is not None
    assert old.optimiser is not None
    stays = {name for name in old.optimiser if "/" not in name and ".inter." not in name}
    assert found.optimiser.keys() == stays
    assert all(torch.equal(found.optimiser[name], old.optimiser[name]) for name in stays)
    assert int(found.optimiser["iterations"]) == 104
    assert record.options == {"adabelief": True, "pretrain": False, "batch_size": 6}
    assert read_record(shot.model("old")).pretraining


@pytest.mark.parametrize("how", ["path", "shared", "flat path", "flat folder", "flat name"])
def test_a_start_can_lie_anywhere(shot: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """A model of another workspace, of the shared folder, or the reference's files wherever they are."""
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "home"))
    elsewhere = Workspace.create(tmp_path / "elsewhere")
    if how == "path":
        what = str(own_model(elsewhere, "trained", "df-ud", iteration=8))
    elif how == "shared":
        shutil.copytree(own_model(elsewhere, "trained", "df-ud", iteration=8), pretrained_folder() / "trained")
        what = "trained"
    else:
        where = shot.models if how == "flat name" else elsewhere.models
        write_flat(where, "trained", archi="df-ud", iteration=8)
        what = {"flat path": str(where / "trained"), "flat folder": str(where), "flat name": "trained"}[how]
    result = copy_model(shot, what, "new", fresh=True)
    started = read_record(shot.model("new")).started_from
    assert result.notes["fresh"] == ["inter"]
    assert (started["model"], started["iteration"]) == ("trained", 8)
    assert ("folder" in started) == (how != "flat name")
    assert sorted(path.name for path in shot.models.iterdir() if path.name.startswith(".")) == []


def test_a_folder_of_several_models_needs_one_named(shot: Workspace, tmp_path: Path) -> None:
    write_flat(tmp_path / "many", "a")
    write_flat(tmp_path / "many", "b", "AMP")
    with pytest.raises(UsageError, match="2 models") as several:
        copy_model(shot, str(tmp_path / "many"), "new", fresh=True)
    assert str(tmp_path / "many") in several.value.hint
    assert copy_model(shot, str(tmp_path / "many" / "b"), "new", fresh=True).notes["class"] == "AMP"
    with pytest.raises(MissingModel):
        copy_model(shot, str(tmp_path / "none"), "x", fresh=True)


def test_the_mask_network_keeps_its_name_to_itself(shot: Workspace) -> None:
    own_model(shot, "old", "tiny")
    with pytest.raises(UsageError, match="mask network"):
        copy_model(shot, "old", "XSeg")
    own_model(shot, "masks", "XSeg-small")
    copy_model(shot, "masks", "XSeg", fresh=True)
    assert read_record(shot.model("XSeg")).model_class == "XSeg"
    with pytest.raises(UsageError, match="mask network"):
        rename_model(shot, "XSeg", "mine")


# -- killed on the way


@pytest.mark.parametrize("fresh", [False, True])
def test_a_copy_that_is_killed_leaves_nothing_of_itself(shot: Workspace, killer: Mortal, fresh: bool) -> None:
    own_model(shot, "old", "tiny")
    before = contents(shot.model("old"))
    for moment in range(0, 60, 3):
        fate = killer("stages.model_copy:copy_model", shot.root, kill_at=moment, old="old", new="new", fresh=fresh)
        assert contents(shot.model("old")) == before
        if not fate.killed:
            break
        assert names(shot) in (["old"], ["new", "old"])
        if names(shot) == ["new", "old"]:
            newest(shot.model("new"))
            shutil.rmtree(shot.model("new"))
    copy = "new2"
    copy_model(shot, "old", copy, fresh=fresh)
    assert not [path for path in shot.models.iterdir() if path.name.startswith(".tmp")]


@pytest.mark.parametrize("work", ["rename", "delete"])
def test_flat_files_are_all_here_or_all_there_after_a_kill(shot: Workspace, killer: Mortal, work: str) -> None:
    write_flat(shot.models, "new")
    whole = sorted(contents(shot.models).values())
    arguments = {"old": "new", "new": "b"} if work == "rename" else {"name": "new"}
    back: Callable[[], object] = (
        (lambda: rename_model(shot, "b", "new")) if work == "rename" else (lambda: restore_model(shot, "new"))
    )
    for moment in range(0, 60, 4):
        fate = killer(f"stages.model_manage:{work}_model", shot.root, kill_at=moment, **arguments)
        with pytest.raises(MissingModel):
            delete_model(shot, "no such model")  # whoever comes next puts things right
        if "new" not in names(shot):
            back()
        assert sorted(contents(shot.models).values()) == whole
        assert names(shot) == ["new"]
        if not fate.killed:
            break
    else:
        pytest.fail("it never came to its end")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no root here")
def test_links_are_not_needed(shot: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some disks have no hard links."""
    own_model(shot, "old", "tiny")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    copy_model(shot, "old", "new")
    assert newest(shot.model("new")).iteration == 4
