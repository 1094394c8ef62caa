"""Pretraining on many people, and its end: what stays, what begins anew, and what a crash leaves."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from small_faces import face_files, workspace_with_faces
from understudy.errors import EmptyFaceset, InvalidOption
from understudy.facesets import write_face
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi, Side
from understudy.report import Event, Note
from understudy.stages import pretraining
from understudy.stages.models import list_models
from understudy.stages.train import train
from understudy.training.options import TrainOptions
from understudy.training.recipes import recipe_for
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.models import read_record, write_record
from understudy.workspace import Workspace

SIZES = {"model": "saehd", "resolution": 64, "ae_dims": 32, "e_dims": 16, "d_dims": 16, "d_mask_dims": 16}
DF = pytest.mark.parametrize("pretrained", ["df-ud"], indirect=True)
PLAIN = {"precision": "fp32", "threads": 1, "preview_every": 0}


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two persons in sub-folders."""
    folder = tmp_path_factory.mktemp("crowd")
    for side in Side:
        (folder / str(side)).mkdir()
        for name, jpeg, meta in face_files(side, 4):
            write_face(folder / str(side) / name, jpeg, meta)
    return folder


@pytest.fixture(scope="module", params=["df-ud", "liae-ud"])
def pretrained(request: pytest.FixtureRequest, crowd: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with a model `one` that was pretrained for three iterations. Not to be changed."""
    workspace = workspace_with_faces(tmp_path_factory.mktemp("pretrained"), 4)
    typed = TrainOptions.of(
        **SIZES, **PLAIN, archi=request.param, target_iter=3, pretrain=True, pretrain_faces=crowd, gan_power=0.1
    )
    train(workspace, "one", typed)
    return workspace


@pytest.fixture
def workspace(pretrained: Workspace, tmp_path: Path) -> Workspace:
    return Workspace.open(shutil.copytree(pretrained.root, tmp_path / "copy"))


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(CheckpointStore(folder).generations()[0] / "weights.safetensors")


def same_parts(before: dict[str, Tensor], after: dict[str, Tensor]) -> dict[str, bool]:
    """For each network whether all its tensors are equal."""
    parts: dict[str, bool] = {}
    for name, tensor in before.items():
        part = name.partition(".")[0]
        parts[part] = parts.get(part, True) and torch.equal(tensor, after[name])
    return parts


def end(workspace: Workspace, **more: object) -> list[Event]:
    events: list[Event] = []
    train(workspace, "one", TrainOptions.of(pretrain=False, target_iter=1, **more), report=events.append)
    return events


def test_pretraining_says_so_and_keeps_the_options_for_afterwards(pretrained: Workspace) -> None:
    record = read_record(pretrained.model("one"))
    assert record.pretraining
    assert (record.options["gan_power"], record.options["random_warp"]) == (0.1, True)
    (model,) = list_models(pretrained)
    assert model.pretraining
    assert not any(name.startswith("gan.") for name in weights(pretrained.model("one")))


def test_turned_off_it_begins_anew_with_what_it_knows_of_faces(workspace: Workspace) -> None:
    folder = workspace.model("one")
    before = weights(folder)
    notes = [event.message for event in end(workspace) if isinstance(event, Note)]
    assert any("Pretraining ended at iteration 3" in note for note in notes)
    first = load_file(folder / "checkpoints" / "000000000" / "weights.safetensors")
    inters = {name for name in same_parts(before, first) if name.startswith("inter")}
    assert {name for name, same in same_parts(before, first).items() if not same} == inters != set()
    record = read_record(folder)
    assert (record.pretraining, [event["event"] for event in record.events]) == (False, ["pretrained"])
    assert CheckpointStore(folder).newest_iteration() == 1
    assert len((folder / "history.jsonl").read_text().splitlines()) == 1
    kept = folder / "pretraining"
    assert CheckpointStore(kept).newest_iteration() == 3
    assert len((kept / "history.jsonl").read_text().splitlines()) == 3
    assert not list(folder.glob(".ending*"))


def test_that_the_optimiser_begins_afresh_in_what_is_new_is_no_warning(workspace: Workspace) -> None:
    notes = [event for event in end(workspace) if isinstance(event, Note)]
    (told,) = [note for note in notes if "begins afresh in what began anew" in note.message]
    assert (told.level, "inter" in told.message) == ("info", True)
    assert not [note.message for note in notes if note.level == "warning"]
    again: list[Event] = []
    train(workspace, "one", TrainOptions(target_iter=2), report=again.append)
    assert not [event for event in again if isinstance(event, Note) and "afresh" in event.message]


@DF
@pytest.mark.parametrize("faithful", [False, True])
def test_moments_of_what_begins_anew_go_unless_faithful(workspace: Workspace, faithful: bool) -> None:
    folder = workspace.model("one")
    end(workspace, faithful=faithful)
    moments = load_file(folder / "checkpoints" / "000000000" / "optimiser.safetensors")
    assert any(".inter" in name and float(moment.abs().max()) > 0 for name, moment in moments.items()) is faithful
    assert any(".encoder." in name for name in moments)


@DF
def test_a_crash_before_the_record_says_so_finds_pretraining_still_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace.model("one")

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "write_record", dies)
        with pytest.raises(KeyboardInterrupt):
            end(workspace)
    assert read_record(folder).pretraining
    assert CheckpointStore(folder).newest_iteration() == 3
    end(workspace)
    assert CheckpointStore(folder).newest_iteration() == 1


@DF
@pytest.mark.parametrize("moved", [0, 1, 2])
def test_a_crash_after_it_is_put_right_by_the_next_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, moved: int
) -> None:
    folder = workspace.model("one")
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "finish_moving", lambda *_: None)
        pretraining.end_if_turned_off(folder, read_record(folder), TrainOptions(pretrain=False))
    (folder / "pretraining").mkdir()
    for name in ("checkpoints", "history.jsonl")[:moved]:
        (folder / name).rename(folder / "pretraining" / name)
    train(workspace, "one", TrainOptions(target_iter=1))
    assert CheckpointStore(folder).newest_iteration() == 1
    assert CheckpointStore(folder / "pretraining").newest_iteration() == 3
    assert len((folder / "history.jsonl").read_text().splitlines()) == 1


@DF
def test_pretraining_again_resets_nothing(workspace: Workspace, crowd: Path) -> None:
    end(workspace)
    before = weights(workspace.model("one"))
    train(workspace, "one", TrainOptions(pretrain=True, pretrain_faces=crowd, target_iter=1))
    assert CheckpointStore(workspace.model("one")).newest_iteration() == 1
    assert all(same_parts(before, weights(workspace.model("one"))).values())


@pytest.mark.parametrize("named", [True, False])
def test_without_faces_it_is_refused_before_anything_is_made(
    tmp_path: Path, named: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UNDERSTUDY_HOME", str(tmp_path / "home"))
    workspace = Workspace.create(tmp_path / "workspace")
    faces = {"pretrain_faces": tmp_path / "nowhere"} if named else {}
    with pytest.raises(EmptyFaceset) as error:
        train(workspace, "one", TrainOptions.of(**SIZES, pretrain=True, **faces))
    assert "--pretrain-faces" in error.value.hint
    assert not workspace.model("one").exists()


def test_classes_without_pretraining_refuse_it_and_ignore_a_stored_one(tmp_path: Path) -> None:
    workspace = workspace_with_faces(tmp_path, 4)
    amp = {**SIZES, "model": "amp", "inter_dims": 32, "face_type": "f"}
    train(workspace, "two", TrainOptions.of(**amp, **PLAIN, batch_size=2, target_iter=1))
    with pytest.raises(InvalidOption, match="pretrain"):
        train(workspace, "two", TrainOptions(pretrain=True))
    folder = workspace.model("two")
    record = read_record(folder)
    write_record(folder, record.with_options({**record.options, "pretrain": True}))
    events: list[Event] = []
    train(workspace, "two", TrainOptions(target_iter=2), report=events.append)
    assert any(isinstance(event, Note) and "pretrain is ignored" in event.message for event in events)
    assert CheckpointStore(folder).newest_iteration() == 2


@pytest.mark.parametrize("faithful", [False, True])
def test_true_face_is_half_on_in_the_reference_alone(faithful: bool) -> None:
    recipe = recipe_for("saehd")
    config = SaehdConfig(archi=Archi.parse("df-ud"))
    options = TrainOptions(pretrain=True, true_face_power=0.01).in_force
    objective = recipe.objective(config, options, faithful)
    assert (objective.true_face, objective.code_discriminator_learns) == ((0.01 if faithful else 0.0), False)
