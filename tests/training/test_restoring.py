"""A restorer learns a person's detail, goes on where it was stopped, and is trusted only as far as it proves itself."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from small_faces import SIZE, sharp_faces
from understudy.evaluation.restoration import Closeness
from understudy.imaging.types import Image, as_float
from understudy.networks.restorer import RestorerConfig
from understudy.report import Event, Metrics, Progress
from understudy.training.enhancing import restoring
from understudy.training.enhancing.degrading import Pixels, cookbook, degrade, softness
from understudy.training.enhancing.restoring import (
    Budget,
    Lessons,
    Setup,
    TrainedRestorer,
    load_restorer,
    train_restorer,
)
from understudy.training.enhancing.trusting import Trust, Verdict, blended, judge
from understudy.training.learning.precision import Precision
from understudy.training.saved.checkpoints import CheckpointStore

CPU = torch.device("cpu")
FP32 = Precision("float32", True, 1)
SMALL = Setup(RestorerConfig(16, 16, 1, 1), batch_size=4, crop_px=48, evaluate_every=10)


@functools.cache
def lessons() -> Lessons:
    faces = sharp_faces(30)
    rng = np.random.default_rng(0)
    plain = cookbook(list(faces[:4]), np.zeros((0, 4)), rng, count=20)
    soft = np.array([softness(degrade(face, plain.draw(rng), rng, scale=SIZE / 512)) for face in faces[:10]])
    return Lessons(faces[:24], faces[24:], soft)


def learn(folder: Path, iterations: int, setup: Setup = SMALL, **more: Any) -> TrainedRestorer | None:
    budget = Budget(0, iterations)
    return train_restorer(CheckpointStore(folder, keep=2), lessons(), budget, FP32, CPU, setup=setup, **more)


def stop_after(iterations: int) -> tuple[Any, Any]:
    """A report and a stop that turns true once so many iterations were told."""
    at = 0

    def report(event: Event) -> None:
        nonlocal at
        if isinstance(event, Metrics):
            at = event.iteration

    return report, lambda: at >= iterations


def weights(restorer: TrainedRestorer) -> dict[str, torch.Tensor]:
    return {name: tensor.contiguous() for name, tensor in restorer.net.state_dict().items()}


def test_it_learns_to_come_nearer_to_faces_that_it_has_not_seen(tmp_path: Path) -> None:
    events: list[Event] = []
    restorer = learn(tmp_path, 160, report=events.append)
    assert restorer is not None
    assert restorer.verdict is not None
    assert restorer.verdict.gain_db > 0.02  # at 64 px there is little to learn
    assert restorer.verdict.restored.ssim > restorer.verdict.soft.ssim
    gains = [event.values["gain_db"] for event in events if isinstance(event, Metrics)]
    assert gains[-1] > gains[0]
    last = [event for event in events if isinstance(event, Progress) and event.step == "Learning sharp faces"][-1]
    assert (last.done, last.total) == (160, 160)


def test_stopped_and_resumed_it_ends_as_if_never_stopped(tmp_path: Path) -> None:
    whole = learn(tmp_path / "whole", 20)
    report, stop = stop_after(10)
    assert learn(tmp_path / "parts", 20, report=report, stop=stop) is None
    assert load_restorer(CheckpointStore(tmp_path / "parts"), FP32, CPU) is None  # not before it is finished
    parts = learn(tmp_path / "parts", 20)
    assert whole is not None
    assert parts is not None
    assert parts.identity == whole.identity
    assert parts.trust == whole.trust
    assert parts.verdict == whole.verdict


def test_a_finished_restorer_is_loaded_as_it_was(tmp_path: Path) -> None:
    made = learn(tmp_path, 10, about={"face_type": "whole_face"})
    found = load_restorer(CheckpointStore(tmp_path), FP32, CPU)
    assert made is not None
    assert found is not None
    assert found.identity == made.identity
    assert (found.trust, found.verdict, found.side) == (made.trust, made.verdict, SIZE)
    assert found.about["face_type"] == "whole_face"
    face = lessons().held_out[0]
    np.testing.assert_array_equal(found(face), made(face))


def test_it_saves_every_minute_so_that_a_crash_costs_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "SAVE_SECS", 0.0)

    class Crash(Exception):
        pass

    def crash(event: Event) -> None:
        if isinstance(event, Metrics) and event.iteration == 20:
            raise Crash

    with pytest.raises(Crash):
        learn(tmp_path, 30, report=crash)
    assert CheckpointStore(tmp_path).newest_iteration() == 19
    resumed, whole = learn(tmp_path, 30), learn(tmp_path / "whole", 30)
    assert resumed is not None
    assert whole is not None
    assert resumed.identity == whole.identity


def test_it_ends_when_nothing_is_gained_any_more(tmp_path: Path) -> None:
    """Untrainable: a rate of learning so low that no evaluation is better than the one before."""
    setup = Setup(SMALL.config, batch_size=1, crop_px=16, evaluate_every=1)
    events: list[Event] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(restoring, "RATE", 1e-9)
        patch.setattr(restoring, "LAST_RATE", 1e-9)
        restorer = learn(tmp_path, 100, setup, report=events.append)
    assert restorer is not None
    assert restorer.iteration == 100 * restoring.SETTLED


def test_a_budget_ends_by_whichever_comes_first() -> None:
    assert Budget(10, 100).spent(50, 60) == 0.5
    assert Budget(10, 100).spent(10, 300) == 0.5
    assert Budget(10, 0).spent(10**6, 300) == 0.5
    assert Budget(0, 100).spent(100, 1e9) == 1.0


@pytest.mark.parametrize("side", [48, 64, 100])
def test_faces_of_other_sizes_keep_their_size(tmp_path: Path, side: int) -> None:
    restorer = learn(tmp_path, 2)
    assert restorer is not None
    face = np.full((side, side, 3), 100, np.uint8)
    drawn = restorer(face)
    assert drawn.shape == (side, side, 3)
    assert np.abs(drawn - 100 / 255).max() < 0.02


def recipes() -> Any:
    return cookbook(list(lessons().held_out), lessons().soft, np.random.default_rng(3), count=40)


def test_a_restorer_that_does_harm_is_not_trusted() -> None:
    def harmful(soft: Pixels) -> Image:
        return np.clip(as_float(soft) + np.float32(0.15) * np.indices(soft.shape)[0] % 2, 0, 1).astype(np.float32)

    trust, verdict = judge(harmful, list(lessons().held_out), recipes())
    assert set(trust.strength) == {0.0}
    assert verdict.gain_db == 0


def test_a_restorer_that_knows_the_truth_is_trusted_in_full() -> None:
    faces = [as_float(face) for face in lessons().held_out]

    def knowing(soft: Pixels) -> Image:
        return min(faces, key=lambda face: float(np.square(face - as_float(soft)).mean()))

    trust, verdict = judge(knowing, list(lessons().held_out), recipes())
    assert set(trust.strength) == {1.0}
    assert verdict.gain_db > 3


def test_trust_depends_on_how_soft_a_face_is() -> None:
    trust = Trust((0.0, 1.0, 2.0), (1.0, 1.0, 0.0))
    assert trust.strength_for(-5) == 1.0
    assert trust.strength_for(1.5) == pytest.approx(0.5)
    assert trust.strength_for(9) == 0.0
    assert Trust.of(trust.as_json()) == trust


def test_a_blend_of_nothing_is_the_soft_face() -> None:
    soft = lessons().sharp[0]
    np.testing.assert_allclose(blended(soft, np.zeros_like(soft, np.float32), 0.0), as_float(soft), atol=1e-6)


def test_a_verdict_survives_json() -> None:
    verdict = Verdict(Closeness(30.0, 0.8, 0.9), Closeness(31.0, 0.9, 0.95), 5)
    assert Verdict.of(verdict.as_json()) == verdict
