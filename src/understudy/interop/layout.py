"""Weights of the reference, turned into ours and back: tensor names, kernel layouts, BGR to RGB.

Both programs keep the same channel order inside a network, so a tensor changes only its axes:

    convolution             (kh, kw, in, out)  ↔  (out, in, kh, kw)
    transposed convolution  (kh, kw, out, in)  ↔  (in, out, kh, kw)
    dense                   (in, out)          ↔  (out, in)
    everything of one axis  as it is

and a name changes only its punctuation: `down1/downs_0/conv1/weight:0` ↔ `down1.downs_0.conv1.weight`. The reference's
pictures are BGR and ours RGB, so the axis that meets a picture is turned round: the inputs of the encoder's first
convolution and the outputs of the convolutions that draw the face. An optimiser's moments have the layout of their
tensors and take the same road (`from_reference` with the moments in place of the weights).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.errors import IncompatibleModel

PICTURE_INPUTS = re.compile(r"(^|\.)encoder\.down1\.(downs_0\.)?conv1\.weight$")
"""Kernels whose inputs are a picture."""

PICTURE_OUTPUTS = re.compile(r"(^|\.)decoder(_src|_dst)?\.out_conv[123]?\.(weight|bias)$")
"""Kernels and biases whose outputs are a picture."""


def our_name(network: str, tensor: str) -> str:
    """`encoder`, `down1/downs_0/conv1/weight:0` → `encoder.down1.downs_0.conv1.weight`."""
    return f"{network}.{tensor.removesuffix(':0').replace('/', '.')}"


def their_name(name: str) -> tuple[str, str]:
    """`encoder.down1.downs_0.conv1.weight` → `encoder`, `down1/downs_0/conv1/weight:0`."""
    network, _, rest = name.partition(".")
    return network, rest.replace(".", "/") + ":0"


def from_reference(net: nn.Module, stored: Mapping[str, Mapping[str, NDArray[np.generic]]]) -> dict[str, Tensor]:
    """Tensors for `net.load_state_dict`, float32, from the reference's, grouped by network (`encoder`, `inter`, …).

    Surplus tensors are ignored. Raises IncompatibleModel naming every tensor that is missing or of another shape.
    """
    given = {
        our_name(network, key): np.asarray(value) for network, group in stored.items() for key, value in group.items()
    }
    wanted = net.state_dict()
    missing = [name for name in wanted if name not in given]
    if missing:
        raise _unfit(f"{len(missing)} of {len(wanted)} tensors are missing, {missing[0]} first", missing)
    tensors = {name: _to_ours(name, given[name]) for name in wanted}
    unfit = [name for name, tensor in tensors.items() if tensor.shape != wanted[name].shape]
    if unfit:
        name = unfit[0]
        raise _unfit(f"{name} is {tuple(tensors[name].shape)} where {tuple(wanted[name].shape)} is needed", unfit)
    return tensors


def to_reference(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """The inverse of `from_reference`: our tensors by name, as the reference's files hold them, grouped by network."""
    stored: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, tensor in tensors.items():
        network, key = their_name(name)
        stored.setdefault(network, {})[key] = _to_theirs(name, tensor)
    return stored


def _to_ours(name: str, value: NDArray[np.generic]) -> Tensor:
    array = np.transpose(value).swapaxes(-1, -2) if value.ndim == 4 else np.transpose(value)
    return torch.from_numpy(np.ascontiguousarray(_turn_colours(name, array), dtype=np.float32))


def _to_theirs(name: str, tensor: Tensor) -> NDArray[np.float32]:
    array = _turn_colours(name, tensor.detach().float().cpu().numpy())
    array = np.transpose(array.swapaxes(-1, -2)) if array.ndim == 4 else np.transpose(array)
    return np.ascontiguousarray(array, dtype=np.float32)


def _turn_colours(name: str, array: NDArray[np.generic]) -> NDArray[np.generic]:
    """BGR ↔ RGB along the axis of our layout that meets a picture; its own inverse."""
    if PICTURE_INPUTS.search(name):
        return array[:, ::-1]
    return array[::-1] if PICTURE_OUTPUTS.search(name) else array


def _unfit(what: str, names: list[str]) -> IncompatibleModel:
    return IncompatibleModel(
        f"These weights are of another architecture: {what}.",
        hint="Check that all files belong to the same model and were copied whole.",
        tensors=names,
    )
