"""Weights of the reference, turned into ours and back: tensor names, kernel layouts, BGR to RGB.

Both programs keep the same channel order inside a network, so a tensor changes only its axes:

    convolution             (kh, kw, in, out)  ↔  (out, in, kh, kw)
    transposed convolution  (kh, kw, out, in)  ↔  (in, out, kh, kw)
    dense                   (in, out)          ↔  (out, in)
    everything of one axis  as it is

and a name changes only its punctuation: `down1/downs_0/conv1/weight:0` ↔ `down1.downs_0.conv1.weight`. A swapper's
files hold one network each, which is the first part of our name; XSeg and a discriminator are one network in one file,
and their tensors have no such part. The reference's pictures are BGR and ours RGB, so the axis that meets a picture is
turned round: the inputs of the first convolution of an encoder, of XSeg and of the patch discriminator, and the outputs
of the convolutions that draw a face. An optimiser's moments have the layout of their tensors and take the same road.

    to_ours, to_theirs, shape_in_file     one tensor
    from_reference, to_reference          all tensors of a network
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.errors import IncompatibleModel
from understudy.interop.flat_names import DISCRIMINATORS, SWAPPER_NETWORKS

NETWORKS = (*SWAPPER_NETWORKS, *DISCRIMINATORS)
"""First parts of our names that are networks of their own, those of discriminators in a saved state."""

PICTURE_INPUTS = re.compile(r"^(encoder\.down1\.(downs_0\.)?conv1|conv01\.conv|(gan\.)?in_conv)\.weight$")
"""Kernels whose inputs are a picture."""

PICTURE_OUTPUTS = re.compile(r"^decoder(_src|_dst)?\.out_conv[123]?\.(weight|bias)$")
"""Kernels and biases whose outputs are a picture."""


def our_name(network: str, tensor: str) -> str:
    """`encoder`, `down1/downs_0/conv1/weight:0` → `encoder.down1.downs_0.conv1.weight`; without network without it."""
    return f"{network}.{tensor}".removeprefix(".").removesuffix(":0").replace("/", ".")


def their_name(name: str) -> tuple[str, str]:
    """`encoder.down1.downs_0.conv1.weight` → `encoder`, `down1/downs_0/conv1/weight:0`; the network may be ""."""
    network, _, rest = name.partition(".")
    if network not in NETWORKS:
        network, rest = "", name
    return network, rest.replace(".", "/") + ":0"


def to_ours(name: str, stored: NDArray[np.generic]) -> Tensor:
    """A tensor of the reference's file as our network holds it: float32, its own memory. name: our name of it."""
    array = np.transpose(stored).swapaxes(-1, -2) if stored.ndim == 4 else np.transpose(stored)
    return torch.from_numpy(np.array(_turn_colours(name, array), dtype=np.float32, order="C"))


def to_theirs(name: str, tensor: Tensor) -> NDArray[np.float32]:
    """The inverse of `to_ours`: a tensor of ours as the reference's file holds it, contiguous and its own memory."""
    array = _turn_colours(name, tensor.detach().float().cpu().numpy())
    array = np.transpose(array.swapaxes(-1, -2)) if array.ndim == 4 else np.transpose(array)
    return np.array(array, dtype=np.float32, order="C")


def shape_in_file(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in the reference's file of a tensor that has `shape` here."""
    if len(shape) != 4:
        return tuple(reversed(shape))
    first, second, height, width = shape
    return height, width, second, first


def from_reference(net: nn.Module, stored: Mapping[str, Mapping[str, NDArray[np.generic]]]) -> dict[str, Tensor]:
    """Tensors for `net.load_state_dict`, float32, from the reference's, grouped by network (`encoder`, `inter`, …).

    XSeg and a discriminator are the one group "". Surplus tensors are ignored. Raises IncompatibleModel naming every
    tensor that is missing or of another shape.
    """
    given = {
        our_name(network, key): np.asarray(value) for network, group in stored.items() for key, value in group.items()
    }
    wanted = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
    missing = [name for name in wanted if name not in given]
    if missing:
        raise _unfit(f"{len(missing)} of {len(wanted)} tensors are missing, {missing[0]} first", missing)
    unfit = [name for name, shape in wanted.items() if given[name].shape != shape_in_file(name, shape)]
    if unfit:
        name = unfit[0]
        raise _unfit(f"{name} is {given[name].shape} where {shape_in_file(name, wanted[name])} is needed", unfit)
    return {name: to_ours(name, given[name]) for name in wanted}


def to_reference(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, NDArray[np.float32]]]:
    """The inverse of `from_reference`: our tensors by name, as the reference's files hold them, grouped by network."""
    stored: dict[str, dict[str, NDArray[np.float32]]] = {}
    for name, tensor in tensors.items():
        network, key = their_name(name)
        stored.setdefault(network, {})[key] = to_theirs(name, tensor)
    return stored


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
