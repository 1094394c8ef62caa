"""The average of the weights from training to whoever draws with it; training with everything on resumes exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from small_faces import SMALL, small_model, workspace_with_faces
from understudy.errors import IncompatibleModel, Interrupted
from understudy.interop.flat import find_flat_models
from understudy.interop.flat_reading import read_flat_model
from understudy.records import PrecisionChoice, WeightsChoice
from understudy.report import Event, Metrics, Note
from understudy.stages.export_dfl import export_dfl
from understudy.stages.load_model import load_model
from understudy.stages.train import train
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import CheckpointStore
from understudy.training.saved.manifests import EMA, read_manifest
from understudy.training.saved.open_state import open_newest
from understudy.training.saved.weights import trained_network
from understudy.workspace import Workspace

FAST = TrainOptions(batch_size=2, precision=PrecisionChoice.FP32, threads=1, preview_every=0, evaluate_every=0)
EVERYTHING = FAST.but(
    optimiser="adamw",
    learning_rate=1e-3,
    lr_warmup=3,
    lr_schedule="cosine",
    lr_from=1,
    autoclip=50.0,
    accumulate=2,
    checkpointing=True,
    freeze="inter",
    ema_decay=0.9,
    target_iter=9,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    made = workspace_with_faces(tmp_path / "shot")
    small_model(made)
    return made


def drawn(workspace: Workspace, weights: str) -> np.ndarray:
    faces = np.random.default_rng(0).random((2, SMALL.size, SMALL.size, 3)).astype(np.float32)
    model = load_model(workspace.model("small"), "cpu", PrecisionChoice.FP32, weights=weights)
    assert model.averaged == (weights != "trained")
    return model.predict(faces).face


def test_who_draws_takes_the_average_unless_told_otherwise(workspace: Workspace) -> None:
    train(workspace, "small", FAST.but(target_iter=6, learning_rate=0.01, ema_decay=0.8))
    assert np.array_equal(drawn(workspace, "auto"), drawn(workspace, "ema"))
    assert np.abs(drawn(workspace, "auto") - drawn(workspace, "trained")).max() > 1e-3
    store = CheckpointStore(workspace.model("small"))
    assert EMA in read_manifest(store.generations()[0])["files"]
    name = "decoder_src.out_conv.weight"
    with open_newest(store) as plain, open_newest(store, weights=WeightsChoice.AUTO) as averaged:
        assert not np.array_equal(plain.weights.read(name), averaged.weights.read(name))
    found = store.newest()
    assert found is not None
    assert found.ema is not None
    assert np.array_equal(
        found.ema[name].numpy(), trained_network(workspace.model("small")).net.get_parameter(name).detach()
    )


def test_an_average_that_is_not_there_is_not_made_up(workspace: Workspace) -> None:
    train(workspace, "small", FAST.but(target_iter=2))
    with pytest.raises(IncompatibleModel, match="no average") as caught:
        load_model(workspace.model("small"), "cpu", weights="ema")
    assert "--ema-decay" in caught.value.hint
    assert not trained_network(workspace.model("small")).averaged


def stopped_at(workspace: Workspace, iteration: int) -> None:
    """Stop a training at an iteration, as a person does; the rate falls towards the same target."""
    at = 0

    def watch(event: Event) -> None:
        nonlocal at
        at = event.iteration if isinstance(event, Metrics) else at

    with pytest.raises(Interrupted):
        train(workspace, "small", EVERYTHING, report=watch, stop=lambda: at >= iteration)


def test_with_everything_on_a_stopped_and_resumed_run_equals_the_uninterrupted_one(tmp_path: Path) -> None:
    found = []
    for stops in ((), (4,)):
        workspace = workspace_with_faces(tmp_path / str(len(stops)))
        small_model(workspace)
        for stop in stops:
            stopped_at(workspace, stop)
        train(workspace, "small", EVERYTHING)
        found.append(CheckpointStore(workspace.model("small")).newest())
    one, two = found
    assert one is not None
    assert two is not None
    assert one.ema is not None
    assert two.ema is not None
    assert one.optimiser is not None
    assert two.optimiser is not None
    for parts in ((one.weights, two.weights), (one.ema, two.ema), (one.optimiser, two.optimiser)):
        assert parts[0].keys() == parts[1].keys()
        for name, tensor in parts[0].items():
            assert tensor.equal(parts[1][name]), name


def test_another_optimiser_begins_with_fresh_moments_and_counts_on(workspace: Workspace) -> None:
    train(workspace, "small", FAST.but(target_iter=3))
    events: list[Event] = []
    train(workspace, "small", FAST.but(target_iter=5, optimiser="lion"), report=events.append)
    assert any(
        "another optimiser (rmsprop): Lion starts with fresh ones" in event.message
        for event in events
        if isinstance(event, Note)
    )
    found = CheckpointStore(workspace.model("small")).newest()
    assert found is not None
    assert found.optimiser is not None
    assert int(found.optimiser["iterations"]) == 5
    assert int(found.optimiser["ages"].max()) == 2


def test_the_average_goes_to_deepfacelab_and_moments_that_it_does_not_know_stay(tmp_path: Path) -> None:
    workspace = workspace_with_faces(tmp_path / "shot")
    dims = {"resolution": 64, "archi": "df-ud", "ae_dims": 32, "e_dims": 16, "d_dims": 16, "d_mask_dims": 16}
    learning = {"optimiser": "adam", "learning_rate": 1e-3, "ema_decay": 0.9, "gan_power": 0.1, "target_iter": 3}
    train(workspace, "hi", FAST.but(model="saehd", batch_size=1, **dims, **learning))
    saved = CheckpointStore(workspace.model("hi")).newest()
    assert saved is not None
    assert saved.ema is not None
    for weights, expected in (("auto", saved.ema), ("trained", saved.weights)):
        events: list[Event] = []
        output = tmp_path / weights
        result = export_dfl(workspace, "hi", output=output, weights=WeightsChoice(weights), report=events.append)
        assert not any("opt" in path.name for path in result.outputs)
        assert {"mean", "square", "optimiser adam"} <= set(result.notes["left_out"])
        assert any("begin with a fresh one" in event.message for event in events if isinstance(event, Note))
        (flat,) = find_flat_models(output)
        with read_flat_model(flat) as opened:
            for name in ("encoder.down1.downs_0.conv1.weight", "decoder_src.out_conv.bias"):
                assert opened.weights.read(name).equal(expected[name]), name
            gan = opened.weights.read("gan.in_conv.weight")
        assert gan.equal(saved.weights["gan.in_conv.weight"])
