"""What every optimiser takes by keyword."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

import torch
from torch import nn


class Settings(TypedDict, total=False):
    """The keywords of an optimiser.

    lr: learning rate. eps: added outside the root, where there is one.
    lr_dropout: share of elements whose update is kept, drawn anew for each element and step, in steps of 1/256 (0.3 is
    77/256, which is the reference's own 308/1024); 1 keeps all. Moments are always updated.
    lr_period: iterations of one cosine swing of the learning rate; 0 leaves it alone.
    weight_decay: share of the learning rate by which a step shortens the weights; for optimisers that do so.
    clip_norm: largest length of all gradients together; 0 does not clip.
    autoclip: the same as a percentile of the lengths so far (`lengths.LengthHistory`); 0 does not clip.
    guarded: an update by gradients that are not all finite is left out.
    compute: the type of the working copies that `working` gives; float32 means the parameters themselves. In float16
    the loss must be multiplied by `loss_scale` before its gradient is taken: small gradients would vanish otherwise.
    The scale halves when a gradient overflows, which skips that update, and doubles after a thousand that did not.
    seed: of the dropout. state_device: where moments are kept, if not beside their weights.
    constants: parameters that are computed with and never change: copies without gradients or moments.
    """

    lr: float | None
    eps: float | None
    lr_dropout: float
    lr_period: int
    weight_decay: float
    clip_norm: float
    autoclip: float
    guarded: bool
    compute: torch.dtype
    seed: int
    state_device: torch.device | None
    constants: Iterable[tuple[str, nn.Parameter]]
