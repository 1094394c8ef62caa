"""Small models of every class that were made here, with random weights: `own_model(workspace, "hi", "SAEHD")`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from understudy.networks.amp import AmpConfig
from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.patch_discriminator import UnetPatchDiscriminator
from understudy.networks.quick96 import Quick96Config
from understudy.networks.saehd import SaehdConfig
from understudy.networks.xseg import XSegConfig
from understudy.records import Archi, FaceType
from understudy.training.saved.new import adopt_model, new_network
from understudy.workspace import Workspace

_DIMS: dict[str, Any] = {"ae_dims": 32, "e_dims": 16, "d_dims": 16, "d_mask_dims": 16}

CONFIGS: dict[str, Any] = {
    "df-ud": SaehdConfig(size=64, archi=Archi.parse("df-ud"), **_DIMS),
    "liae-udtc": SaehdConfig(size=64, archi=Archi.parse("liae-udtc"), face_type=FaceType.WHOLE_FACE, **_DIMS),
    "liae": SaehdConfig(size=64, archi=Archi.parse("liae"), face_type=FaceType.HEAD, **_DIMS),
    "tiny": SaehdConfig(size=64, archi=Archi.parse("df"), ae_dims=8, e_dims=8, d_dims=8, d_mask_dims=4),
    "AMP": AmpConfig(size=64, inter_dims=40, **_DIMS),
    "Quick96": Quick96Config(),
    "Quick96-small": Quick96Config(size=32, ae_dims=8, e_dims=8, d_dims=8, d_mask_dims=4),
    "XSeg": XSegConfig(),
    "XSeg-small": XSegConfig(size=64, base_dims=8),
}
"""A config of every kind of model, by the name under which `own_model` makes it. The small ones are a hundredth of what
the reference has, and so cannot go back to it."""


def class_of(kind: str) -> str:
    return "SAEHD" if kind[0].islower() else kind.partition("-")[0]


def own_model(
    workspace: Workspace,
    name: str,
    kind: str,
    *,
    iteration: int = 4,
    losses: int = 4,
    adabelief: bool = True,
    judged: bool = False,
    options: dict[str, Any] | None = None,
) -> Path:
    """The folder of a model with weights, moments, losses and, if `judged`, discriminators."""
    draw = torch.Generator().manual_seed(len(kind) + iteration)
    net = new_network(class_of(kind), CONFIGS[kind], seed=iteration)
    parts: dict[str, nn.Module] = {"": net}
    if judged:
        parts["gan"] = UnetPatchDiscriminator(8, 16, generator=draw)
        if kind == "df-ud":
            parts["code_discriminator"] = CodeDiscriminator(32, 4, generator=draw)
    weights: dict[str, Tensor] = {}
    moments: dict[str, Tensor] = {}
    for part, module in parts.items():
        group = f"{part}/" if part else ""
        for key, tensor in module.state_dict().items():
            weights[f"{part}.{key}" if part else key] = tensor
            for moment in ("first", "second") if adabelief else ("moment",):
                if not key.startswith(("inter_src", "inter_dst")):
                    moments[f"{group}{moment}.{key}"] = torch.rand(tensor.shape, generator=draw)
        moments[f"{group}iterations"] = torch.tensor(iteration + 100)
        moments[f"{group}generator"] = torch.zeros(16, dtype=torch.uint8)
    names = ("loss",) if class_of(kind) == "XSeg" else ("src", "dst")
    rows = [[float(torch.rand((), generator=draw)) for _ in names] for _ in range(losses)]
    folder = workspace.model(name)
    adopt_model(
        folder, net, class_of(kind), weights=weights, optimiser=moments, iteration=iteration, losses=rows,
        loss_names=names, options={"adabelief": adabelief, **(options or {})},
    )  # fmt: skip
    return folder
