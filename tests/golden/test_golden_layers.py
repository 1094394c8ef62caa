"""Every layer that our networks are built from gives the reference's numbers on small tensors."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.interop.layout import to_ours
from understudy.networks.blocks import Grow, as_grid, depth_to_space, unit_power
from understudy.networks.xseg import FRN, TLU, BlurPool

Stored = Mapping[str, NDArray[Any]]

TOLERANCE = 5e-6
"""Relative to the largest number of an output: sums of up to 384 products, in another order."""

INPUTS = r"x_h6w8c8|flat_in"

NOT_IN_OUR_NETWORKS = (
    r"space_to_depth2|upsample2d|resize2d_bilinear.*|max_pool|gelu|instnorm|dense_maxout2|.*_wscale|"
    r"conv_k\d_(valid|dil\d)|convT_k4_.*"
)


def kernel_and_bias(layer: nn.Module, stored: Stored, op: str) -> nn.Module:
    """`layer` with a stored kernel and bias in our layout."""
    kernel, bias = to_ours("kernel", stored[f"{op}|w0"]), to_ours("bias", stored[f"{op}|w1"])
    layer.load_state_dict({"weight": kernel, "bias": bias})
    return layer


def convolution(stored: Stored, op: str, size: str, stride: str) -> Tensor:
    """Padded as all convolutions of our networks are: by half the kernel, on all sides, also with a stride."""
    outputs = len(stored[f"{op}|w1"])
    layer = nn.Conv2d(8, outputs, int(size), stride=int(stride), padding=int(size) // 2)
    return unpictured(kernel_and_bias(layer, stored, op)(pictured(stored["x_h6w8c8"])))


def transposed(stored: Stored, op: str, stride: str) -> Tensor:
    layer = kernel_and_bias(Grow(8, len(stored[f"{op}|w1"]), int(stride)), stored, op)
    return unpictured(layer(pictured(stored["x_h6w8c8"][:, :6, :6])))


def dense(stored: Stored, op: str) -> Tensor:
    layer = kernel_and_bias(nn.Linear(384, len(stored[f"{op}|w1"])), stored, op)
    found: Tensor = layer(torch.from_numpy(stored["flat_in"]))
    return found


def response_norm(stored: Stored, op: str) -> Tensor:
    layer = FRN(8)
    names = ("weight", "bias", "eps")
    layer.load_state_dict({name: torch.from_numpy(stored[f"{op}|w{i}"]) for i, name in enumerate(names)})
    return unpictured(layer(pictured(stored["x_h6w8c8"])))


def threshold(stored: Stored, op: str) -> Tensor:
    layer = TLU(8)
    layer.load_state_dict({"tau": torch.from_numpy(stored[f"{op}|w0"])})
    return unpictured(layer(pictured(stored["x_h6w8c8"])))


def flattened(stored: Stored) -> Tensor:
    """Counted through channels, rows and columns, which is how our networks flatten."""
    return pictured(stored["x_h6w8c8"]).flatten(1)


def grid(stored: Stored, op: str, width: str, height: str, channels: str) -> Tensor:
    """Our grids are square; numbers are counted in the same order in any."""
    square = as_grid(torch.from_numpy(stored["flat_in"]), int(width))
    return unpictured(square.flatten(1).view(-1, int(channels), int(height), int(width)))


OPS: dict[str, Callable[..., Tensor]] = {
    r"conv_k(\d)_s(\d)": convolution,
    r"convT_k3_s(\d)_in6x6": transposed,
    r"dense": dense,
    r"frn": response_norm,
    r"tlu": threshold,
    r"blurpool_(\d)": lambda stored, op, taps: unpictured(BlurPool(int(taps))(pictured(stored["x_h6w8c8"]))),
    r"depth_to_space2": lambda stored, op: unpictured(depth_to_space(pictured(stored["x_h6w8c8"]))),
    r"pixel_norm_last": lambda stored, op: unit_power(flattened(stored)),
    r"flatten": lambda stored, op: flattened(stored),
    r"reshape4D_w(\d+)h(\d+)c(\d+)": grid,
}


def pictured(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(array).permute(0, 3, 1, 2)


def unpictured(tensor: Tensor) -> Tensor:
    return tensor.permute(0, 2, 3, 1)


@pytest.fixture(scope="module")
def stored(golden: Path) -> Stored:
    path = golden / "losses" / "ops.npz"
    if not path.is_file():
        pytest.skip(f"no layers in {path.parent}")
    return dict(np.load(path))


@torch.no_grad()
def test_every_layer(stored: Stored) -> None:
    ops = list(dict.fromkeys(key.partition("|")[0] for key in stored if not re.fullmatch(INPUTS, key)))
    unknown = []
    for op in ops:
        for pattern, work in OPS.items():
            if match := re.fullmatch(pattern, op):
                expected = stored.get(f"{op}|out", stored.get(op))
                assert expected is not None
                atol = TOLERANCE * np.abs(expected).max()
                np.testing.assert_allclose(work(stored, op, *match.groups()), expected, rtol=0, atol=atol, err_msg=op)
                break
        else:
            unknown.append(op)
    assert [op for op in unknown if not re.fullmatch(NOT_IN_OUR_NETWORKS, op)] == []
