"""Models are found by name, whatever they lie in, and told apart; one is shown in full."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from made_models import write_flat
from own_models import own_model
from understudy.errors import IncompatibleModel, MissingModel, UsageError
from understudy.records import FaceType
from understudy.stages.model_show import show_model
from understudy.stages.models import find_model, list_models
from understudy.training.saved.models import ModelSummary, new_record, publishing_model, read_record, write_record
from understudy.workspace import Workspace
from users import ordinary_user


@pytest.fixture
def shot(tmp_path: Path) -> Workspace:
    return Workspace.create(tmp_path / "shot")


@pytest.fixture(scope="module")
def dfm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that live tools load, of a small model."""
    pytest.importorskip("onnx")
    from understudy.interop.dfm_writing import build
    from understudy.networks.saehd import SaehdConfig, saehd_network
    from understudy.records import Archi

    config = SaehdConfig(size=64, archi=Archi.parse("df"), ae_dims=8, e_dims=8, d_dims=8, d_mask_dims=4)
    path = tmp_path_factory.mktemp("dfm") / "live.dfm"
    built = build(saehd_network(config))
    path.write_bytes(built if isinstance(built, bytes) else built.SerializeToString())
    return path


def by_name(workspace: Workspace) -> dict[str, ModelSummary]:
    return {model.name: model for model in list_models(workspace)}


def notes(workspace: Workspace, name: str, **more: Any) -> dict[str, Any]:
    """What `model show --json` would print, after a way through JSON."""
    body = json.loads(json.dumps(show_model(workspace, name, **more).as_json()))
    assert isinstance(body, dict)
    return body


def test_models_of_every_kind_are_listed_with_what_is_known_of_them(shot: Workspace, dfm: Path) -> None:
    own_model(shot, "ours", "liae-udtc", iteration=7)
    write_flat(shot.models, "new_one", "SAEHD", iteration=1234, archi="liae-ud")
    write_flat(shot.models, "amp", "AMP")
    write_flat(shot.models, "XSeg", "XSeg")
    shutil.copy(dfm, shot.models / "live.dfm")
    found = by_name(shot)
    assert set(found) == {"ours", "new_one", "amp", "XSeg", "live"}
    ours, flat, amp = found["ours"], found["new_one"], found["amp"]
    assert (ours.model_class, ours.archi, ours.resolution, ours.iteration) == ("SAEHD", "liae-udtc", 64, 7)
    assert (flat.model_class, flat.archi, flat.resolution, flat.iteration) == ("SAEHD", "liae-ud", 64, 1234)
    assert (flat.face_type, flat.format, flat.supported) == (str(FaceType.WHOLE_FACE), "flat", True)
    assert (amp.model_class, amp.archi, amp.face_type) == ("AMP", "", str(FaceType.FULL))
    assert (found["XSeg"].resolution, found["live"].model_class, found["live"].resolution) == (256, "DFM", 64)
    assert all(model.size_bytes > 1000 and not model.problem for model in found.values())


def test_the_one_saved_last_comes_first(shot: Workspace) -> None:
    write_flat(shot.models, "older")
    time.sleep(0.02)
    own_model(shot, "newer", "tiny")
    assert [model.name for model in list_models(shot)] == ["newer", "older"]


def test_broken_models_are_listed_and_say_why(shot: Workspace) -> None:
    (shot.models / "torn").mkdir()
    (shot.models / "torn" / "model.json").write_text("{")
    (shot.models / "foreign").mkdir()
    (shot.models / "foreign" / "model.json").write_text('{"schema": "somebody else\'s"}')
    (shot.models / "holiday pictures").mkdir()
    write_flat(shot.models, "half").file("decoder_dst.npy").unlink()
    write_flat(shot.models, "cut").file("data.dat").write_bytes(b"\x80\x04}(")
    (shot.models / "broken.dfm").write_bytes(b"\x08\x07\x12")
    found = by_name(shot)
    assert set(found) == {"torn", "foreign", "half", "cut", "broken"}
    assert not any(model.supported for model in found.values())
    assert "half_SAEHD_decoder_dst.npy" in found["half"].problem
    assert "data.dat" in found["cut"].problem
    assert "copied whole" in found["broken"].problem
    for name in found:
        assert notes(shot, name)["problems"][0] == found[name].problem


def test_flat_files_that_were_imported_are_not_listed_twice(shot: Workspace) -> None:
    own_model(shot, "new", "tiny")
    write_flat(shot.models, "new", "SAEHD")
    write_flat(shot.models, "new", "AMP")
    assert sorted((model.model_class, model.format) for model in list_models(shot)) == [
        ("AMP", "flat"), ("SAEHD", "understudy"),
    ]  # fmt: skip


def test_a_name_that_two_flat_models_share_needs_their_class(shot: Workspace) -> None:
    write_flat(shot.models, "new", "SAEHD")
    write_flat(shot.models, "new", "AMP")
    with pytest.raises(UsageError, match="2 models") as refused:
        find_model(shot, "new")
    assert "--model" in refused.value.hint
    assert find_model(shot, "new", "amp").model_class == "AMP"
    assert find_model(shot, "new_SAEHD").model_class == "SAEHD"
    with pytest.raises(MissingModel, match="no model") as missing:
        find_model(shot, "old")
    assert "new" in missing.value.hint
    with pytest.raises(IncompatibleModel, match=r"new is of the class (SAEHD|AMP), not quick96"):
        find_model(shot, "new", "quick96")


def test_pretraining_is_said_of_ours_and_of_flat_files(shot: Workspace) -> None:
    own_model(shot, "ours", "tiny", options={"pretrain": True})
    write_flat(shot.models, "flat", pretrain=True)
    write_flat(shot.models, "done", pretrain=False)
    assert {name: model.pretraining for name, model in by_name(shot).items()} == {
        "ours": True, "flat": True, "done": False,
    }  # fmt: skip


def test_two_hundred_models_are_listed_within_a_second(shot: Workspace) -> None:
    record = new_record("SAEHD", {"size": 128, "archi": "liae-ud", "face_type": "full_face"})
    flat = write_flat(shot.models, "flat")
    for index in range(100):
        with publishing_model(shot.model(f"ours {index}"), record) as temp:
            (temp / "checkpoints" / "000001000").mkdir(parents=True)
            (temp / "checkpoints" / "000001000" / "weights.safetensors").write_bytes(b"0" * 1000)
        for path in shot.models.glob(f"{flat.prefix}*"):
            path.with_name(path.name.replace("flat", f"flat{index}")).hardlink_to(path)
    best = min(_seconds(shot) for _ in range(3))
    assert len(list_models(shot)) == 201
    assert best < 1


def _seconds(workspace: Workspace) -> float:
    start = time.process_time()
    list_models(workspace)
    return time.process_time() - start


def test_one_of_ours_is_shown_in_full(shot: Workspace) -> None:
    folder = own_model(shot, "hello", "df-ud", iteration=9, losses=9, judged=True, options={"gan_power": 0.1})
    body = notes(shot, "hello", batch_size=3)
    assert (body["model"], body["class"], body["archi"], body["resolution"]) == ("hello", "SAEHD", "df-ud", 64)
    assert sum(body["parameters"].values()) == body["parameters_total"] > 10**6
    assert body["flops"]["training_per_sample"] > 2 * body["flops"]["swap_per_face"] > 0
    assert body["memory"]["training"]["batch_size"] == 3
    assert body["memory"]["training"]["total"] > body["memory"]["swap"]["total"] > 4 * body["parameters_total"]
    assert body["options"] == {"gan_power": 0.1}
    assert body["optimiser"] == {"kind": "adabelief", "steps": 109}
    assert [state["iteration"] for state in body["checkpoints"]] == [9]
    assert (body["losses"]["iterations"], set(body["losses"]["means"])) == (9, {"src", "dst"})
    assert body["outputs"] == [str(folder / "loss_curve.png")]
    with Image.open(folder / "loss_curve.png") as picture:
        assert np.asarray(picture.convert("RGB")).std() > 5


def test_memory_is_told_for_the_batch_it_trains_with_and_for_another(shot: Workspace) -> None:
    own_model(shot, "hello", "tiny", options={"batch_size": 6})
    own = notes(shot, "hello")["memory"]["training"]
    more = notes(shot, "hello", batch_size=64)["memory"]["training"]
    assert (own["batch_size"], more["batch_size"]) == (6, 64)
    assert more["total"] > own["total"]


@pytest.mark.parametrize("kind", ["liae-udtc", "AMP", "Quick96-small", "XSeg-small"])
def test_every_class_can_be_shown(shot: Workspace, kind: str) -> None:
    own_model(shot, "hello", kind)
    body = notes(shot, "hello")
    assert body["problems"] == []
    assert body["flops"]["swap_per_face"] > 0
    assert body["memory"]["training"]["total"] > body["memory"]["swap"]["total"]


def test_a_damaged_saved_state_is_named_and_the_rest_is_told(shot: Workspace) -> None:
    folder = own_model(shot, "hello", "tiny", iteration=4)
    shutil.copytree(folder / "checkpoints" / "000000004", folder / "backups" / "000000004")
    weights = folder / "checkpoints" / "000000004" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    (folder / "checkpoints" / "000000009").mkdir()
    body = notes(shot, "hello")
    assert len(body["problems"]) == 2
    assert "weights.safetensors" in body["problems"][1]
    assert body["backups"][0].keys() == {"iteration", "saved", "bytes"}
    assert body["optimiser"]["steps"] == 104


def test_a_config_that_makes_no_network_is_a_problem_and_no_end(shot: Workspace) -> None:
    folder = own_model(shot, "hello", "tiny")
    record = read_record(folder)
    write_record(folder, new_record("SAEHD", {**record.config, "size": 70}))
    body = notes(shot, "hello")
    assert body["problems"]
    assert body["checkpoints"]


@pytest.mark.parametrize(
    ("config", "options", "problem"),
    [({"size": None}, {}, "without size"), ({}, {"gan_power": 0.1, "gan_patch_size": 640}, "GAN patch size 640")],
)
def test_a_record_changed_by_hand_is_a_problem_and_no_end(
    shot: Workspace, config: dict[str, Any], options: dict[str, Any], problem: str
) -> None:
    folder = own_model(shot, "old", "df-ud")
    record = read_record(folder)
    changed = {name: value for name, value in {**record.config, **config}.items() if value is not None}
    write_record(folder, replace(record, config=changed, options=options))
    assert any(problem in said for said in notes(shot, "old")["problems"])


def test_a_model_that_may_not_be_written_to_is_shown_without_a_new_curve() -> None:
    with ordinary_user() as folder:
        shot = Workspace.create(folder / "shot")
        model = own_model(shot, "hello", "tiny")
        model.chmod(0o555)
        result = show_model(shot, "hello")
        assert result.outputs == []
        assert result.notes["losses"]["iterations"] == 4


def test_flat_files_are_shown_without_being_imported(shot: Workspace) -> None:
    flat = write_flat(shot.models, "new", archi="df-ud", iteration=99)
    before = sorted(shot.models.iterdir())
    body = notes(shot, "new")
    assert sorted(shot.models.iterdir()) == before
    assert (body["iteration"], body["config"]["archi"]) == (99, "df-ud")
    assert body["reference_options"]["an_option_of_tomorrow"] == "kept"
    assert {line["file"] for line in body["files"]} == {path.name for path in shot.models.glob(f"{flat.prefix}*")}
    assert body["parameters_total"] > 0
    assert body["memory"]["training"]["batch_size"] == 6


def test_a_dfm_says_what_goes_in_and_out(shot: Workspace, dfm: Path) -> None:
    shutil.copy(dfm, shot.models / "live.dfm")
    body = notes(shot, "live.dfm")
    assert body["inputs"] == ["in_face:0 float32 (N, 64, 64, 3)"]
    assert len(body["outputs_of_network"]) == 3
    assert body["parameters_total"] > 1000
    assert not body["has_morph"]
