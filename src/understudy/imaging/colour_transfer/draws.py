"""What chance decides: random rotations and directions, from one seed for each picture.

NumPy's legacy generator, in the order in which the reference program asks it, so that the same seed draws the same. The
reference's axes count blue first, ours red.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

IDT_STEPS = 20
SOT_STEPS = 10
SOT_BATCH = 5


def rotations(seeds: Sequence[int], steps: int = IDT_STEPS) -> Tensor:
    """(B, steps, 3, 3) float32: rotations of B, G, R, every one equally likely, as matrices for R, G, B.

    The orthogonal factor of a normal matrix, with the signs of its triangular factor (Mezzadri, "How to generate random
    matrices from the classical compact groups", 2007), its first row turned over where it mirrors. SciPy's
    `special_ortho_group` draws the same.
    """
    normal = np.stack([np.random.RandomState(seed).normal(size=(steps, 3, 3)) for seed in seeds])
    orthogonal, triangular = np.linalg.qr(normal)
    orthogonal *= np.sign(np.einsum("...ii->...i", triangular))[..., None, :]
    orthogonal[..., 0, :] *= np.linalg.det(orthogonal)[..., None]
    return torch.from_numpy(orthogonal[..., ::-1].astype(np.float32))


def directions(seeds: Sequence[int], steps: int = SOT_STEPS, batch: int = SOT_BATCH) -> Tensor:
    """(B, steps, batch, 3) float32: directions of length 1, every one equally likely."""
    normal = np.stack([np.random.RandomState(seed).normal(size=(steps, batch, 3)) for seed in seeds])[..., ::-1]
    return torch.from_numpy((normal / np.linalg.norm(normal, axis=-1, keepdims=True)).astype(np.float32))
