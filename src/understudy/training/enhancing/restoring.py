"""Training a restorer on a person's sharp faces.

    sharp faces ─ degrade by a recipe ─► soft crop ─ Restorer ─► compared with the sharp crop

Some sharp faces are held out: they show progress, and in the end `trusting.judge` decides by them how far the restorer
is to be trusted.
"""

from __future__ import annotations

import hashlib
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.imaging.types import Image, as_float
from understudy.networks.restorer import GRAIN, Restorer, RestorerConfig, places, restore
from understudy.report import Metrics, Progress, Report, Stop, never, silent
from understudy.training.enhancing.degrading import Cookbook, Pixels, cookbook
from understudy.training.enhancing.soft_crops import SoftCrops, as_tensor
from understudy.training.enhancing.trusting import Trust, Verdict, degraded, judge
from understudy.training.learning.learner import prepare
from understudy.training.learning.precision import Precision
from understudy.training.optimisers import Adam
from understudy.training.saved.checkpoints import Checkpoint, CheckpointStore

Floats = NDArray[np.float64]
SAVE_SECS = 60.0
PATIENCE = 8
"""Evaluations in a row without progress that end the training, once the rate of learning has come down."""
SETTLED = 0.6
"""Share of the budget before which a plateau means nothing: most is gained while the rate comes down (0.25 dB for two
minutes, 0.44 in the third)."""
LEAST_GAIN_DB = 0.01
EMA = 0.998
RATE, LAST_RATE, WARM_UP, LONGEST_GRADIENT = 1e-3, 2e-5, 50, 0.2
"""At 4e-3 it is thrown off within 60 iterations, and at 1.5e-3 it trembles. Computing the last convolution in tenths,
which allows greater rates, gained less (0.21 dB after 300 iterations, against 0.24 after 120 like this)."""
BETAS = (0.9, 0.99)
GRADIENT_WEIGHT = 0.5


@dataclass(frozen=True, eq=False)
class Lessons:
    """What a restorer learns from. sharp, held_out: (N,S,S,3) uint8 whole aligned faces of one type and side.

    soft: (M,4) of `degrading.softness` of the faces it is for, or none of them.
    """

    sharp: NDArray[np.uint8]
    held_out: NDArray[np.uint8]
    soft: Floats

    @property
    def side(self) -> int:
        return int(self.sharp.shape[1])


@dataclass(frozen=True)
class Budget:
    """When training ends: after so many minutes or iterations, whichever is first (0: no such end), or at a plateau."""

    minutes: float = 10.0
    iterations: int = 0

    def spent(self, iteration: int, seconds: float) -> float:
        """How much of it is used, 0..1."""
        shares = [iteration / self.iterations] if self.iterations else []
        shares += [seconds / (60 * self.minutes)] if self.minutes else []
        return min(1.0, max(shares, default=0.0))


@dataclass(frozen=True)
class Setup:
    """How to train. crop_px: side of the crops, a multiple of 8. workers: threads that make crops."""

    config: RestorerConfig = field(default_factory=RestorerConfig)
    batch_size: int = 8
    crop_px: int = 96
    seed: int = 0
    evaluate_secs: float = 30.0
    evaluate_every: int = 0  # iterations; 0: by the clock
    workers: int = 1


@dataclass(frozen=True, eq=False)
class TrainedRestorer:
    """A finished restorer, ready to compute: called with a soft face (S,S,3) uint8 it gives float32 0..1 of that size.

    side: of the aligned pictures that it learned from, px; faces of another are enlarged or reduced to it and back.
    """

    net: Restorer
    side: int
    precision: Precision
    device: torch.device
    recipes: Cookbook
    iteration: int
    seconds: float
    trust: Trust = field(default_factory=Trust)
    verdict: Verdict | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __call__(self, soft: Pixels) -> Image:
        given = soft.shape[0]
        picture = _resized(as_float(soft), self.side)
        tensor = torch.from_numpy(picture.transpose(2, 0, 1)[None].copy())
        with torch.inference_mode(), _autocast(self.precision, self.device):
            drawn = restore(self.net, tensor.to(self.device))
        return _resized(np.ascontiguousarray(drawn[0].permute(1, 2, 0).cpu().numpy()), given)

    @property
    def identity(self) -> str:
        """A hash of its weights: two restorers with the same one draw the same faces."""
        whole = hashlib.sha256()
        for _, tensor in sorted(self.net.state_dict().items()):
            whole.update(tensor.cpu().contiguous().numpy().tobytes())
        return whole.hexdigest()[:16]


@dataclass(eq=False)
class _Training:
    """Everything that changes while training; all of it is in a checkpoint."""

    net: Restorer
    averaged: Restorer
    optimiser: Adam
    recipes: Cookbook
    iteration: int = 0
    seconds: float = 0.0
    evaluations: list[tuple[int, float, float]] = field(default_factory=list)  # iteration, seconds, gain in dB

    @property
    def at_plateau(self) -> bool:
        gains = [gain for _, _, gain in self.evaluations]
        return len(gains) > PATIENCE and max(gains[-PATIENCE:]) < max(gains[:-PATIENCE]) + LEAST_GAIN_DB


def train_restorer(
    store: CheckpointStore,
    lessons: Lessons,
    budget: Budget,
    precision: Precision,
    device: torch.device,
    *,
    setup: Setup = Setup(),
    about: Mapping[str, Any] | None = None,
    report: Report = silent,
    stop: Stop = never,
) -> TrainedRestorer | None:
    """Train until the budget is spent or nothing is gained any more, and judge the result on the held-out faces.

    Goes on from the newest checkpoint in `store` and saves one every minute, at the end and when `stop` turns true;
    then None is returned. `about` is kept with it. Raises TrainingDiverged, DiskFull, ReadOnlyWorkspace.
    """
    training = _take_up(store, lessons, setup, precision, device, report)
    exam = _Exam(lessons, training.recipes, setup.seed)
    about = dict(about or {})
    clock = _Clock(training.seconds)
    saved_at = clock.seconds
    with _crops(lessons, training, setup) as crops:
        while (spent := budget.spent(training.iteration, training.seconds)) < 1:
            if spent >= SETTLED and training.at_plateau:
                break
            if stop():
                _save(store, training, about, lessons.side)
                return None
            soft, sharp, place = (tensor.to(device, non_blocking=True) for tensor in next(crops))
            loss = _step(training, soft, sharp, place, _rate(training.iteration, spent), precision)
            training.iteration += 1
            training.seconds = clock.seconds
            if _is_evaluation_due(training, setup):
                gain = exam.gain(training.averaged, precision, device)
                training.evaluations.append((training.iteration, training.seconds, gain))
                report(Metrics(training.iteration, {"loss": float(loss), "gain_db": gain}))
            if clock.seconds - saved_at >= SAVE_SECS:
                _save(store, training, about, lessons.side)
                saved_at = clock.seconds
            _tell(report, training, budget)
    _save(store, training, about, lessons.side)  # judging takes a while
    finished = TrainedRestorer(
        training.averaged, lessons.side, precision, device, training.recipes, training.iteration, training.seconds
    )
    trust, verdict = judge(finished, list(lessons.held_out), training.recipes, seed=setup.seed)
    about = {**about, "trust": trust.as_json(), "verdict": verdict.as_json()}
    _save(store, training, about, lessons.side, finished=True)
    return replace(finished, trust=trust, verdict=verdict, about=about)


def load_restorer(
    store: CheckpointStore, precision: Precision, device: torch.device, report: Report = silent
) -> TrainedRestorer | None:
    """The finished restorer in `store`, ready to compute; None when there is none or training has not ended."""
    found = store.newest(report, optimiser=False)
    if found is None or not found.state.get("finished"):
        return None
    net = Restorer(RestorerConfig(**found.state["config"]))
    net.load_state_dict(_part(found.weights, "averaged"))
    prepare(net.requires_grad_(False), precision, device)
    about, seconds = found.state["about"], float(found.state["seconds"])
    return TrainedRestorer(
        net,
        int(found.state["side"]),
        precision,
        device,
        Cookbook.of(found.state["recipes"]),
        found.iteration,
        seconds,
        Trust.of(about["trust"]),
        Verdict.of(about["verdict"]),
        about,
    )


class _Exam:
    """A small set of held-out crops by which progress is told."""

    def __init__(self, lessons: Lessons, recipes: Cookbook, seed: int, *, count: int = 12, most_px: int = 256) -> None:
        rng = np.random.default_rng([seed, 55])
        side = min(lessons.side, most_px) // GRAIN * GRAIN
        corner = (lessons.side - side) // 2
        window = slice(corner, corner + side)
        pairs = degraded(lessons.held_out, recipes, rng, count)
        self._soft = as_tensor([soft[window, window] for soft, _ in pairs])
        self._truth = as_tensor([np.rint(truth[window, window] * 255).astype(np.uint8) for _, truth in pairs])
        corners = np.full(count, corner, np.int64)
        self._place = places(corners, corners, side, lessons.side)

    def gain(self, net: Restorer, precision: Precision, device: torch.device) -> float:
        """Mean PSNR gained over the soft crops, dB."""
        after = []
        with torch.inference_mode(), _autocast(precision, device):
            for index in range(len(self._soft)):
                one = slice(index, index + 1)
                drawn = net(self._soft[one].to(device, memory_format=torch.channels_last), self._place[one].to(device))
                after.append(drawn.float().clamp(0, 1).cpu())
        return float((_psnr(torch.cat(after), self._truth) - _psnr(self._soft, self._truth)).mean())


def _psnr(pictures: Tensor, truth: Tensor) -> Tensor:
    return -10 * torch.log10((pictures - truth).square().mean((1, 2, 3)).clamp_min(1e-10))


# -- a step


def _crops(lessons: Lessons, training: _Training, setup: Setup) -> SoftCrops:
    return SoftCrops(
        lessons.sharp,
        training.recipes,
        start=training.iteration,
        crop_px=setup.crop_px,
        batch_size=setup.batch_size,
        seed=setup.seed,
        workers=setup.workers,
    )


def _step(training: _Training, soft: Tensor, sharp: Tensor, place: Tensor, rate: float, precision: Precision) -> Tensor:
    soft = soft.contiguous(memory_format=torch.channels_last)
    with _autocast(precision, soft.device):
        drawn = training.net(soft, place)
    loss = _loss(drawn.float(), sharp)
    loss.backward()  # type: ignore[no-untyped-call]
    training.optimiser.lr = rate
    training.optimiser.step()
    _average(training)
    return loss.detach()


def _loss(drawn: Tensor, sharp: Tensor) -> Tensor:
    """Charbonnier's distance of the pixels, and of the differences between neighbours, where sharpness is."""
    pixels = _charbonnier(drawn - sharp)
    across = _charbonnier(drawn[..., 1:] - drawn[..., :-1] - sharp[..., 1:] + sharp[..., :-1])
    down = _charbonnier(drawn[..., 1:, :] - drawn[..., :-1, :] - sharp[..., 1:, :] + sharp[..., :-1, :])
    return pixels + GRADIENT_WEIGHT * (across + down)


def _charbonnier(difference: Tensor) -> Tensor:
    return torch.sqrt(difference.square() + 1e-6).mean()


@torch.no_grad()
def _average(training: _Training) -> None:
    keep = min(EMA, (1 + training.iteration) / (10 + training.iteration))
    mean: list[Tensor] = list(training.averaged.parameters())
    new: list[Tensor] = list(training.net.parameters())
    torch._foreach_lerp_(mean, new, 1 - keep)


def _rate(iteration: int, spent: float) -> float:
    """The learning rate: a short rise, then half a cosine over the budget."""
    rise = min(1.0, (iteration + 1) / WARM_UP)
    return rise * (LAST_RATE + (RATE - LAST_RATE) * (1 + math.cos(math.pi * spent)) / 2)


def _autocast(precision: Precision, device: torch.device) -> torch.autocast:
    return torch.autocast(device.type, precision.torch_dtype, enabled=precision.dtype != "float32")


def _resized(picture: Image, side: int) -> Image:
    given = picture.shape[0]
    if given == side:
        return picture
    how = cv2.INTER_AREA if side < given else cv2.INTER_LANCZOS4
    return np.asarray(cv2.resize(picture, (side, side), interpolation=how), np.float32)


# -- state


class _Clock:
    """Seconds of training, those of earlier runs included."""

    def __init__(self, before: float) -> None:
        self._start = time.monotonic() - before

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._start


def _take_up(
    store: CheckpointStore,
    lessons: Lessons,
    setup: Setup,
    precision: Precision,
    device: torch.device,
    report: Report,
) -> _Training:
    found = store.newest(report)
    if found is not None:
        return _resumed(found, precision, device)
    rng = np.random.default_rng([setup.seed, 33])
    report(Progress("Looking at soft faces", 0, None, unit="faces"))
    recipes = cookbook(
        [np.asarray(face) for face in lessons.sharp[:: max(1, len(lessons.sharp) // 24)]], lessons.soft, rng
    )
    net = Restorer(setup.config, generator=torch.Generator().manual_seed(setup.seed))
    return _new(net, recipes, precision, device)


def _new(net: Restorer, recipes: Cookbook, precision: Precision, device: torch.device) -> _Training:
    averaged = Restorer(net.config).requires_grad_(False)
    averaged.load_state_dict(net.state_dict())
    for network in (net, averaged):
        prepare(network, precision, device)
    optimiser = Adam(net.named_parameters(), betas=BETAS, clip_norm=LONGEST_GRADIENT)  # moments lie as weights do now
    return _Training(net, averaged, optimiser, recipes)


def _save(
    store: CheckpointStore, training: _Training, about: Mapping[str, Any], side: int, *, finished: bool = False
) -> None:
    weights = {f"net.{name}": value for name, value in training.net.state_dict().items()}
    weights |= {f"averaged.{name}": value for name, value in training.averaged.state_dict().items()}
    state = {
        "config": training.net.config.as_json(),
        "side": side,
        "seconds": training.seconds,
        "finished": finished,
        "evaluations": [list(row) for row in training.evaluations],
        "recipes": training.recipes.as_json(),
        "about": dict(about),
    }
    if finished:  # takes the place of the same weights before they were judged
        shutil.rmtree(store.folder / f"{training.iteration:09d}", ignore_errors=True)
    store.save(training.iteration, weights=weights, optimiser=training.optimiser.state_dict(), state=state)


def _resumed(found: Checkpoint, precision: Precision, device: torch.device) -> _Training:
    net = Restorer(RestorerConfig(**found.state["config"]))
    net.load_state_dict(_part(found.weights, "net"))
    training = _new(net, Cookbook.of(found.state["recipes"]), precision, device)
    training.averaged.load_state_dict(_part(found.weights, "averaged"))
    training.optimiser.load_state_dict(found.optimiser or {})
    training.iteration, training.seconds = found.iteration, float(found.state["seconds"])
    training.evaluations = [(int(at), float(secs), float(gain)) for at, secs, gain in found.state["evaluations"]]
    return training


def _part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {key.removeprefix(f"{name}."): value for key, value in weights.items() if key.startswith(f"{name}.")}


def _is_evaluation_due(training: _Training, setup: Setup) -> bool:
    if setup.evaluate_every:
        return training.iteration % setup.evaluate_every == 0
    last = training.evaluations[-1][1] if training.evaluations else 0.0
    return training.seconds - last >= setup.evaluate_secs


def _tell(report: Report, training: _Training, budget: Budget) -> None:
    if training.iteration % 5 == 0:
        rate = training.iteration / max(training.seconds, 1e-6)
        total = budget.iterations or None
        if budget.minutes:
            by_clock = round(training.iteration + rate * max(0.0, 60 * budget.minutes - training.seconds))
            total = min(total, by_clock) if total else by_clock
        report(Progress("Learning sharp faces", training.iteration, total, unit="iterations", rate=rate))
