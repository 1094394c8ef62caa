"""Optimisers take the reference's steps: same weights after every step, same state at the end.

Every configuration in the folder is run three ways: in pieces, as a processor does it; over whole tensors, as a
graphics card does it; and with moments that only visit the weights.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.training.optimisers import Optimiser, optimiser_named, parts
from understudy.training.optimisers.dropout import Dropout

WEIGHT_TOLERANCE = 2.5e-7
"""Absolute, after ten steps, of weights up to 1.9: twice the distance between neighbouring float32 numbers."""

STATE_TOLERANCE = 1e-6
"""Relative to the largest number of each moment."""

STORED_MOMENTS = {"moment": "acc_v{key}_0:0", "first": "ms_v{key}_0:0", "second": "vs_v{key}_0:0"}

WAYS = ("pieces", "whole", "visiting")


class GivenDropout(Dropout):
    """Keeps the elements that the reference kept instead of drawing its own."""

    def __init__(self, share: float, masks: dict[str, NDArray[Any]]) -> None:
        super().__init__(torch.device("cpu"), share, 0)
        self.masks, self.step = masks, -1

    def begin(self) -> None:
        self.step += 1

    def draw(self, name: str, start: int, out: Tensor) -> None:
        out.copy_(torch.from_numpy(self.masks[name][self.step].ravel()[start : start + out.numel()].copy()))


@pytest.mark.parametrize("way", WAYS)
def test_trajectories(golden: Path, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = golden / "optimizers"
    if not (folder / "config.json").is_file():
        pytest.skip(f"no optimiser trajectories in {folder}")
    configs = json.loads((folder / "config.json").read_text())
    assert configs
    monkeypatch.setattr(parts, "PIECE", 7)  # tensors of 5 to 12 numbers: pieces with parts of two of them
    monkeypatch.setattr(parts, "VISIT", 13)
    with np.load(folder / "trajectories.npz") as stored:
        for name, config in configs.items():
            follow(stored, name, config, way)


def follow(stored: Any, name: str, config: dict[str, Any], way: str) -> None:
    keys = [key.removeprefix("v0_") for key in stored.files if key.startswith("v0_")]
    weights = {key: nn.Parameter(torch.from_numpy(stored[f"v0_{key}"].copy())) for key in keys}
    optimiser = built(config, weights, way)
    if "lr_dropout" in config:
        masks = {key: stored[f"{name}|dropmask_{key}"] for key in keys}
        optimiser.dropout = GivenDropout(config["lr_dropout"], masks)
    for step in range(len(stored[f"grads_{keys[0]}"])):
        for key, weight in weights.items():
            weight.grad = torch.from_numpy(stored[f"grads_{key}"][step].copy())
        optimiser.step()
        for key, weight in weights.items():
            expected = stored[f"{name}|traj_{key}"][step]
            np.testing.assert_allclose(
                weight.detach().numpy(), expected, rtol=0, atol=WEIGHT_TOLERANCE, err_msg=f"{name}, step {step}, {key}"
            )
    assert optimiser.iterations == int(stored[f"{name}|state|iters:0"])
    for kind, moments in optimiser.moments.items():
        for key, moment in moments.items():
            expected = stored[f"{name}|state|{STORED_MOMENTS[kind].format(key=key)}"]
            atol = STATE_TOLERANCE * np.abs(expected).max()
            np.testing.assert_allclose(moment.numpy(), expected, rtol=0, atol=atol, err_msg=f"{name}, {kind} of {key}")


def built(config: dict[str, Any], weights: dict[str, nn.Parameter], way: str) -> Optimiser:
    """The optimiser of a stored configuration. Raises when it has a setting that is not understood here."""
    unknown = set(config) - {"cls", "lr", "rho", "beta_1", "beta_2", "clipnorm", "lr_cos", "lr_dropout", "epsilon"}
    assert not unknown, f"settings that this test does not know: {unknown}"
    settings: dict[str, Any] = {
        "lr": config["lr"],
        "eps": config.get("epsilon", 1e-6),
        "clip_norm": config.get("clipnorm", 0.0),
        "lr_period": config.get("lr_cos", 0),
    }
    if config["cls"] == "RMSprop":
        settings["rho"] = config.get("rho", 0.9)
    else:
        settings["betas"] = (config.get("beta_1", 0.9), config.get("beta_2", 0.999))
    optimiser = optimiser_named(config["cls"].lower())(weights.items(), **settings)
    optimiser.in_pieces, optimiser.moves_state = way != "whole", way == "visiting"
    return optimiser
