"""RMSprop takes the reference's steps: same weights after every step, same state at the end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.training.optimisers import RMSprop
from understudy.training.optimisers.dropout import Dropout


class GivenDropout(Dropout):
    """Keeps the elements that the reference kept instead of drawing its own."""

    def __init__(self, masks: dict[str, NDArray[Any]]) -> None:
        super().__init__(torch.device("cpu"), 0.3, 0)
        self.masks, self.step = masks, -1

    def begin(self) -> None:
        self.step += 1

    def draw(self, name: str, start: int, out: Tensor) -> None:
        out.copy_(torch.from_numpy(self.masks[name][self.step].ravel()[start : start + out.numel()].copy()))


@pytest.fixture(scope="module")
def configs(golden: Path) -> dict[str, dict[str, Any]]:
    everything = json.loads((golden / "optimizers" / "config.json").read_text())
    found = {name: config for name, config in everything.items() if config["cls"] == "RMSprop"}
    assert found
    return found


def test_trajectories(golden: Path, configs: dict[str, dict[str, Any]]) -> None:
    stored = np.load(golden / "optimizers" / "trajectories.npz")
    variables = [key.removeprefix("v0_") for key in stored.files if key.startswith("v0_")]
    for name, config in configs.items():
        weights = {key: nn.Parameter(torch.from_numpy(stored[f"v0_{key}"].copy())) for key in variables}
        optimiser = RMSprop(
            weights.items(),
            lr=config["lr"],
            rho=config.get("rho", 0.9),
            clip_norm=config.get("clipnorm", 0.0),
            lr_period=config.get("lr_cos", 0),
            lr_dropout=config.get("lr_dropout", 1.0),
        )
        if "lr_dropout" in config:
            optimiser.dropout = GivenDropout({key: stored[f"{name}|dropmask_{key}"] for key in variables})
        for step in range(len(stored[f"grads_{variables[0]}"])):
            for key, weight in weights.items():
                weight.grad = torch.from_numpy(stored[f"grads_{key}"][step].copy())
            optimiser.step()
            for key, weight in weights.items():
                np.testing.assert_allclose(
                    weight.detach().numpy(), stored[f"{name}|traj_{key}"][step], rtol=1e-6, atol=1e-7, err_msg=name
                )
        assert optimiser.iterations == int(stored[f"{name}|state|iters:0"])
        for key in variables:
            np.testing.assert_allclose(
                optimiser.moments["moment"][key].numpy(),
                stored[f"{name}|state|acc_v{key}_0:0"],
                rtol=1e-5,
                err_msg=name,
            )
