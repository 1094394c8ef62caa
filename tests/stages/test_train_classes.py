"""SAEHD and AMP as a user trains them: made from flags, resumed exactly, with discriminators, changed on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from small_faces import small_model, workspace_with_faces
from understudy.errors import InvalidOption, UsageError
from understudy.networks.amp import AmpConfig
from understudy.networks.saehd import SaehdConfig
from understudy.records import Archi, FaceType, PrecisionChoice
from understudy.report import Event, Note
from understudy.stages.train import train
from understudy.training.options import LrDropout, TrainOptions
from understudy.training.saved.checkpoints import Checkpoint, CheckpointStore
from understudy.training.saved.manifests import MANIFEST
from understudy.training.saved.models import read_record, write_record
from understudy.training.saved.new import create_model
from understudy.workspace import Workspace

FAST = TrainOptions(batch_size=2, precision=PrecisionChoice.FP32, threads=1, preview_every=0)
NUMBERS: dict[str, Any] = {
    "size": 32,
    "face_type": FaceType.WHOLE_FACE,
    "ae_dims": 8,
    "e_dims": 8,
    "d_dims": 8,
    "d_mask_dims": 4,
}

MODELS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "df-ud": ("saehd", SaehdConfig(archi=Archi.parse("df-ud"), **NUMBERS), {}),
    "df with all discriminators": (
        "saehd",
        SaehdConfig(archi=Archi.parse("df"), **NUMBERS),
        {"gan_power": 0.1, "true_face_power": 0.01, "eyes_mouth_prio": True, "random_src_flip": True},
    ),
    "liae-udt with GAN": (
        "saehd",
        SaehdConfig(archi=Archi.parse("liae-udt"), **NUMBERS),
        {
            "gan_power": 0.1,
            "lr_dropout": "y",
            "clipgrad": True,
            "blur_out_mask": True,
            "ct_mode": "idt",
            "faithful": True,
        },
    ),
    "liae with styles": (
        "saehd",
        SaehdConfig(archi=Archi.parse("liae"), **NUMBERS),
        {"face_style_power": 5.0, "bg_style_power": 5.0, "adabelief": False, "ct_mode": "sot"},
    ),
    "amp with GAN": ("amp", AmpConfig(inter_dims=12, **NUMBERS), {"gan_power": 0.1}),
}
"""Class, config and options of models small enough for a test."""


def made(root: Path, kind: str) -> tuple[Workspace, TrainOptions]:
    """A workspace with a new model `small` of that kind, and the options to train it with."""
    workspace = workspace_with_faces(root)
    model_class, config, options = MODELS[kind]
    create_model(workspace.model("small"), model_class, config=config)
    return workspace, FAST.but(**options)


def newest(workspace: Workspace) -> Checkpoint:
    found = CheckpointStore(workspace.model("small")).newest()
    assert found is not None
    return found


def assert_same_training(one: Workspace, other: Workspace, iteration: int) -> None:
    """Weights and optimisers of all networks, sampler, options and history are equal to the last bit."""
    folders = [workspace.model("small") for workspace in (one, other)]
    first, second = (json.loads((f / f"checkpoints/{iteration:09d}" / MANIFEST).read_text()) for f in folders)
    assert first == second
    assert (folders[0] / "history.jsonl").read_bytes() == (folders[1] / "history.jsonl").read_bytes()


@pytest.mark.parametrize("kind", MODELS)
def test_a_resumed_run_equals_the_uninterrupted_one(tmp_path: Path, kind: str) -> None:
    whole, options = made(tmp_path / "whole", kind)
    parts, _ = made(tmp_path / "parts", kind)
    train(whole, "small", options.but(target_iter=5))
    train(parts, "small", options.but(target_iter=2))
    train(parts, "small", TrainOptions(target_iter=5))  # everything else is remembered
    assert_same_training(whole, parts, 5)


def test_a_resumed_run_in_bfloat16_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    """With what AMP never trains beside what it does, and a discriminator."""
    whole, options = made(tmp_path / "whole", "amp with GAN")
    parts, _ = made(tmp_path / "parts", "amp with GAN")
    narrow = options.but(precision=PrecisionChoice.BF16)
    train(whole, "small", narrow.but(target_iter=4))
    train(parts, "small", narrow.but(target_iter=1))
    train(parts, "small", TrainOptions(target_iter=4))
    assert_same_training(whole, parts, 4)


TRAINER = """
import sys
from pathlib import Path
from understudy.stages.train import train
from understudy.training.options import TrainOptions
from understudy.workspace import Workspace

train(Workspace.open(Path(sys.argv[1])), "small", TrainOptions.of(**eval(sys.argv[2])))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
@pytest.mark.parametrize(
    "kind",
    [
        "amp with GAN",
        pytest.param("df with all discriminators", marks=pytest.mark.faults),
        pytest.param("liae-udt with GAN", marks=pytest.mark.faults),
    ],
)
def test_killed_it_resumes_to_the_same_result(tmp_path: Path, kind: str) -> None:
    workspace, options = made(tmp_path / "killed", kind)
    endless = options.but(save_minutes=0.003)
    command = [sys.executable, "-c", TRAINER, str(workspace.root), repr(endless.model_dump(mode="json"))]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    history = workspace.model("small") / "history.jsonl"
    deadline = time.monotonic() + 120
    while not history.is_file() or history.read_bytes().count(b"\n") < 6:
        assert process.poll() is None, (process.stderr.read() if process.stderr else b"").decode()
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()
    process.communicate()
    target = history.read_bytes().count(b"\n") + 3
    train(workspace, "small", TrainOptions(target_iter=target))

    whole, _ = made(tmp_path / "whole", kind)
    train(whole, "small", endless.but(target_iter=target))
    assert_same_training(whole, workspace, target)


def test_a_saved_state_holds_every_network_by_its_name(tmp_path: Path) -> None:
    workspace, options = made(tmp_path, "df with all discriminators")
    train(workspace, "small", options.but(target_iter=1))
    state = newest(workspace)
    assert {name.partition(".")[0] for name in state.weights} == {
        "encoder",
        "inter",
        "decoder_src",
        "decoder_dst",
        "gan",
        "code_discriminator",
    }
    assert state.optimiser is not None
    for prefix in ("", "gan/", "code_discriminator/"):
        assert int(state.optimiser[f"{prefix}iterations"]) == 1
    assert "gan/first.in_conv.weight" in state.optimiser
    assert "code_discriminator/second.out_conv.bias" in state.optimiser


def test_amp_never_trains_its_inters(tmp_path: Path) -> None:
    workspace, options = made(tmp_path, "amp with GAN")
    train(workspace, "small", options.but(target_iter=1))
    before = newest(workspace)
    train(workspace, "small", TrainOptions(target_iter=3))
    after = newest(workspace)
    changed = {name for name, tensor in after.weights.items() if not torch.equal(tensor, before.weights[name])}
    assert {name.partition(".")[0] for name in changed} == {"encoder", "decoder", "gan"}
    assert after.optimiser is not None
    assert not any("inter_" in name for name in after.optimiser)


def test_without_random_warp_liae_keeps_what_both_people_share(tmp_path: Path) -> None:
    workspace, options = made(tmp_path, "liae-udt with GAN")
    train(workspace, "small", options.but(target_iter=1))
    before = newest(workspace)
    train(workspace, "small", TrainOptions(target_iter=2, random_warp=False))
    after = newest(workspace)
    shared = [name for name in after.weights if name.startswith("inter_AB.")]
    assert shared
    assert all(torch.equal(after.weights[name], before.weights[name]) for name in shared)
    assert not torch.equal(after.weights["inter_B.dense1.weight"], before.weights["inter_B.dense1.weight"])


def test_a_discriminator_that_rests_is_kept_and_goes_on_later(tmp_path: Path) -> None:
    workspace, options = made(tmp_path, "liae-udt with GAN")
    train(workspace, "small", options.but(target_iter=2))
    before = newest(workspace)
    train(workspace, "small", TrainOptions(target_iter=3, gan_power=0.0))
    resting = newest(workspace)
    assert before.optimiser is not None
    assert resting.optimiser is not None
    for name in [name for name in before.weights if name.startswith("gan.")]:
        assert torch.equal(resting.weights[name], before.weights[name])
    for name in [name for name in before.optimiser if name.startswith("gan/")]:
        assert torch.equal(resting.optimiser[name], before.optimiser[name])
    train(workspace, "small", TrainOptions(target_iter=4, gan_power=0.1))
    awake = newest(workspace)
    assert awake.optimiser is not None
    assert int(awake.optimiser["gan/iterations"]) == 3


def test_a_discriminator_of_another_size_begins_anew_and_that_is_said(tmp_path: Path) -> None:
    workspace, options = made(tmp_path, "liae-udt with GAN")
    train(workspace, "small", options.but(target_iter=2))
    notes = notes_of(workspace, TrainOptions(target_iter=3, gan_dims=8))
    assert any("GAN" in note and "anew" in note for note in notes)
    state = newest(workspace)
    assert state.optimiser is not None
    assert int(state.optimiser["gan/iterations"]) == 1
    assert int(state.optimiser["iterations"]) == 3


def test_another_optimiser_counts_on_with_fresh_moments(tmp_path: Path) -> None:
    workspace, options = made(tmp_path, "df with all discriminators")
    train(workspace, "small", options.but(target_iter=2))
    notes = notes_of(workspace, TrainOptions(target_iter=3, adabelief=False))
    said = [note.partition("The saved moments are of another optimiser")[0] for note in notes if "optimiser" in note]
    assert said == ["", "Of the GAN: ", "Of the code discriminator: "]
    state = newest(workspace)
    assert state.optimiser is not None
    assert int(state.optimiser["iterations"]) == 3
    assert any(name.startswith("moment.") for name in state.optimiser)


def notes_of(workspace: Workspace, options: TrainOptions) -> list[str]:
    events: list[Event] = []
    train(workspace, "small", options, report=events.append)
    return [event.message for event in events if isinstance(event, Note)]


TINY = TrainOptions(target_iter=1, batch_size=1, precision=PrecisionChoice.FP32, threads=1, ae_dims=32)


def test_a_new_model_is_made_from_flags_and_rounded_with_a_note(tmp_path: Path) -> None:
    workspace = workspace_with_faces(tmp_path)
    options = TINY.but(
        model="saehd", resolution=72, archi="DF-DU", face_type="wf", e_dims=17, d_dims=16, d_mask_dims=16
    )
    notes = notes_of(workspace, options)
    record = read_record(workspace.model("small"))
    assert record.model_class == "SAEHD"
    assert record.config == {
        "size": 64,
        "face_type": "whole_face",
        "archi": "df-ud",
        "ae_dims": 32,
        "e_dims": 18,
        "d_dims": 16,
        "d_mask_dims": 16,
    }
    assert any("--resolution 72 becomes 64" in note for note in notes)
    assert any("--e-dims 17 becomes 18" in note for note in notes)
    assert not any("--archi" in note for note in notes)
    assert "resolution" not in record.options
    for option, given in (("resolution", 96), ("archi", "liae-ud"), ("face_type", "f")):
        with pytest.raises(UsageError, match=f"--{option.replace('_', '-')}.*keeps the architecture"):
            train(workspace, "small", TrainOptions.of(target_iter=2, **{option: given}))
    train(workspace, "small", TrainOptions(target_iter=2, resolution=64, archi="df-ud"))  # what it is may be said


def test_the_previews_of_amp_show_how_far_a_swap_goes(tmp_path: Path) -> None:
    workspace, options = made(tmp_path, "amp with GAN")
    train(workspace, "small", options.but(target_iter=1, preview_every=1))
    previews = workspace.model("small") / "previews"
    assert {path.stem for path in previews.iterdir()} == {"AMP_morph_1.0", "AMP_morph_list", "AMP_morph_list_masked"}
    with Image.open(previews / "AMP_morph_list.png") as picture:
        assert picture.size == (3 * 32, 4 * 2 * 32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "amp", "archi": "df"}, "AMP models have no --archi"),
        ({"model": "saehd", "inter_dims": 64}, "SAEHD models have no --inter-dims"),
        ({"model": "quick96", "resolution": 128}, "Quick96 models have no --resolution"),
        ({"model": "amp", "true_face_power": 0.1}, "--true-face-power.*AMP models always train with 0"),
        ({"model": "quick96", "gan_power": 0.1}, "--gan-power.*Quick96 models always train with 0"),
        ({"model": "saehd", "archi": "liae", "true_face_power": 0.1}, "--true-face-power.*SAEHD liae models"),
        ({"model": "saehd", "archi": "dfhd"}, "no architecture"),
        (
            {"model": "saehd", "gan_power": 0.1, "gan_patch_size": 640, "resolution": 80, "archi": "df"},
            "GAN patch size",
        ),
    ],
)
def test_what_a_class_does_not_have_is_refused_before_anything_is_made(
    tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    workspace = workspace_with_faces(tmp_path)
    with pytest.raises(InvalidOption, match=message):
        train(workspace, "small", TrainOptions.of(target_iter=1, **options))
    assert not workspace.model("small").exists()


def test_defaults_are_those_of_the_class(tmp_path: Path) -> None:
    workspace, _ = made(tmp_path, "amp with GAN")
    train(workspace, "small", TrainOptions(target_iter=1, precision=PrecisionChoice.FP32, threads=1, preview_every=0))
    options = read_record(workspace.model("small")).options
    assert (options["batch_size"], options["random_dst_flip"], options["eyes_mouth_prio"]) == (8, True, True)

    quick = workspace_with_faces(tmp_path / "quick")
    small_model(quick)
    train(quick, "small", FAST.but(target_iter=1))
    stored = read_record(quick.model("small")).options
    assert (stored["random_dst_flip"], stored["adabelief"], stored["lr_dropout"]) == (False, False, LrDropout.ON)


def test_an_imported_model_goes_on_with_the_colours_it_was_trained_with(tmp_path: Path) -> None:
    """ct_mode comes with the model, and a faithful one also sees the whole dst pictures."""
    workspace, options = made(tmp_path, "df-ud")
    other, _ = made(tmp_path / "other", "df-ud")
    folder = workspace.model("small")
    write_record(folder, read_record(folder).with_options({"ct_mode": "rct"}))
    for where, chosen in ((workspace, options), (other, options.but(ct_mode="rct"))):
        train(where, "small", chosen.but(target_iter=2, faithful=True))
    assert read_record(folder).options["ct_mode"] == "rct"
    assert_same_training(workspace, other, 2)
