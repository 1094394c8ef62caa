"""A trained model as a function from faces to faces: NumPy arrays in and out over a torch network.

predictor = load_predictor(workspace.model("hello"))
face, mask_src, mask_dst = predictor(crops)      # crops (B,S,S,3) float32 RGB in 0..1, S = predictor.size
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from understudy.devices import device_named
from understudy.errors import MissingModel, UsageError
from understudy.records import FaceType, PrecisionChoice
from understudy.report import Report, silent
from understudy.training.checkpoints import CheckpointStore
from understudy.training.models import read_record
from understudy.training.precision import choose
from understudy.training.recipes import Net, config_from_plain, recipe_for
from understudy.training.session import load_weights
from understudy.training.step import prepare

BLOCK = 16
"""Faces that go through the network at once; more gain nothing on a CPU and cost memory."""

Floats = NDArray[np.float32]


class Predictor:
    """Redraws dst faces as src. Thread-safe: the network is only read.

    size: side of the square faces in pixels. face_type: how much of the head they cover. iteration: how far the network
    was trained. dtype: what it computes in, such as "float32".
    """

    def __init__(
        self,
        net: Net,
        *,
        size: int,
        face_type: FaceType,
        iteration: int,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._net = net
        self._device = torch.device(device)
        self._dtype = dtype
        self.dtype = str(dtype).removeprefix("torch.")
        self.size = size
        self.face_type = face_type
        self.iteration = iteration

    def __call__(self, faces: Floats) -> tuple[Floats, Floats, Floats]:
        """Faces (B,S,S,3) RGB in 0..1 → (face (B,S,S,3) RGB, mask of the new face (B,S,S), mask of dst's face (B,S,S)).

        All float32 in 0..1. Raises UsageError for another shape.
        """
        if faces.ndim != 4 or faces.shape[1:] != (self.size, self.size, 3):
            raise UsageError(f"Faces of the shape (B,{self.size},{self.size},3) are needed, not {faces.shape}.")
        parts = [self._block(faces[start : start + BLOCK]) for start in range(0, len(faces), BLOCK)]
        if not parts:
            empty = np.zeros((0, self.size, self.size), np.float32)
            return np.zeros((0, self.size, self.size, 3), np.float32), empty, empty
        face, mask, mask_dst = (np.concatenate(column) for column in zip(*parts, strict=True))
        return face, mask, mask_dst

    def _block(self, faces: Floats) -> tuple[Floats, Floats, Floats]:
        given = torch.from_numpy(np.ascontiguousarray(faces, dtype=np.float32)).to(self._device).permute(0, 3, 1, 2)
        with (
            torch.inference_mode(),
            torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype != torch.float32),
        ):
            drawn = self._net.swap(given)
        face, mask, mask_dst = (part.float().permute(0, 2, 3, 1).cpu().numpy() for part in drawn)
        return np.ascontiguousarray(face), mask[..., 0], mask_dst[..., 0]


def load_predictor(
    model_folder: Path,
    device: str = "cpu",
    precision: PrecisionChoice = PrecisionChoice.AUTO,
    *,
    report: Report = silent,
) -> Predictor:
    """The newest whole state of a trained model, ready to redraw faces.

    device: as `--device`. precision: auto takes what this machine is measured to be fast in. A damaged state is passed
    over with a warning in `report`.
    Raises MissingModel when there is no model or it was never saved, CorruptCheckpoint when no saved state is whole.
    """
    record = read_record(model_folder)
    recipe = recipe_for(record.model_class)
    found = CheckpointStore(model_folder).newest(report, optimiser=False)
    if found is None:
        raise MissingModel(
            f"The model {model_folder.name} has not been trained yet.",
            hint=f"Train it with: understudy train {model_folder.name}",
            folder=model_folder,
        )
    device_id = device_named(device).id
    where = torch.device(device_id)
    how = replace(choose(device_id, precision), threads=0)  # the caller decides on threads
    config = config_from_plain(recipe, record.config)
    net = recipe.build(config, torch.Generator().manual_seed(0))
    load_weights(net, found)
    prepare(net, how, where)
    net.to(how.torch_dtype).eval().requires_grad_(False)
    return Predictor(
        net,
        size=config.size,
        face_type=config.face_type,
        iteration=found.iteration,
        device=str(where),
        dtype=how.torch_dtype,
    )
