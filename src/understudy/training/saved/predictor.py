"""A saved state of a model as a predictor (`networks/predictor.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from understudy.devices import device_named
from understudy.networks.families import Family
from understudy.networks.inference import prepared
from understudy.networks.predictor import Drawn, Floats, Predictor
from understudy.records import NEWEST, PrecisionChoice, WeightsChoice
from understudy.report import Note, Report, silent
from understudy.training.learning.precision import choose
from understudy.training.saved.weights import trained_network


def load_predictor(
    model_folder: Path,
    device: str = "cpu",
    precision: PrecisionChoice = PrecisionChoice.AUTO,
    *,
    checkpoint: str = NEWEST,
    weights: WeightsChoice = WeightsChoice.AUTO,
    compiled: bool = False,
    report: Report = silent,
) -> Predictor:
    """A saved state of a model of ours, ready to draw; arguments as `trained_network` and `predictor_of`.

    A damaged state is passed over with a warning in `report` where the newest is asked for. Raises MissingModel when
    there is no model or no such state, CorruptCheckpoint when none is whole, IncompatibleModel when it does not fit
    model.json.
    """
    found = trained_network(model_folder, report, weights=weights, checkpoint=checkpoint)
    return predictor_of(
        found.family,
        found.net,
        iteration=found.iteration,
        averaged=found.averaged,
        device=device,
        precision=precision,
        compiled=compiled,
        report=report,
    )


def predictor_of(
    family: Family,
    net: nn.Module,
    *,
    iteration: int,
    averaged: bool = False,
    device: str = "cpu",
    precision: PrecisionChoice = PrecisionChoice.AUTO,
    compiled: bool = False,
    report: Report = silent,
) -> Predictor:
    """A network with its weights, which is used up, as a predictor.

    device: as `--device`. precision: auto takes what this machine is measured to be fast in. compiled: through
    torch.compile, where there is a compiler; gains on graphics cards only, and takes half a minute at the first face.
    """
    where = device_named(device).id
    how = choose(where, precision)
    config: Any = net.config
    prepared(net, device=where, dtype=how.torch_dtype, packed=not compiled)
    network = _Network(net, where)
    if compiled:
        network.compile(report)
    facts = Drawn(
        family.model_class,
        config.size,
        config.face_type,
        iteration,
        how.dtype,
        where,
        has_morph=hasattr(config, "morph_factor"),
        can_swap=family.can_swap,
        averaged=averaged,
    )
    return Predictor(network.swap if family.can_swap else network.masks, facts)


class _Network:
    """The torch side of a predictor: NumPy arrays in and out, any thread."""

    def __init__(self, net: nn.Module, device: str) -> None:
        self._net: Any = net
        self._device = torch.device(device)
        self._swap: Any = getattr(net, "swap", None)

    def swap(self, faces: Floats, morph: float | None) -> tuple[Floats, Floats, Floats]:
        with torch.inference_mode():
            face, mask, mask_dst = (_pictures(part) for part in self._swap(self._given(faces), morph))
        return face, mask[..., 0], mask_dst[..., 0]

    def masks(self, faces: Floats, morph: float | None) -> tuple[Floats, Floats, Floats]:
        """A mask network's masks, twice, beside the faces as they were given."""
        with torch.inference_mode():
            mask = _pictures(self._net.masks(self._given(faces)))[..., 0]
        return np.clip(faces, 0, 1), mask, mask

    def compile(self, report: Report) -> None:
        """Draw through torch.compile from the first face on; where it fails, as before and with a note."""
        eager: Any = self._swap

        def first(faces: Tensor, morph: float | None) -> Any:
            try:
                made: Any = torch.compile(eager)
                drawn = made(faces, morph)
                self._swap = made
            except Exception as error:  # the compiler raises whatever went wrong in it
                report(Note(f"The network is not compiled: {str(error).strip().splitlines()[0]}", "warning"))
                self._swap = eager
                drawn = eager(faces, morph)
            return drawn

        self._swap = first

    def _given(self, faces: Floats) -> Tensor:
        return torch.from_numpy(faces).to(self._device).permute(0, 3, 1, 2)


def _pictures(drawn: Tensor) -> Floats:
    """(B,C,S,S) → (B,S,S,C) float32, in memory of its own."""
    return np.ascontiguousarray(drawn.float().permute(0, 2, 3, 1).cpu().numpy())
