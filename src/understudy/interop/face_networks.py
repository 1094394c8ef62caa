"""Published weight files of S3FD and FAN, turned into the tensors of our networks.

    S3FD.npy, 2DFAN.npy, 3DFAN.npy     the reference program's: pickled tables "m_0/b1/conv1/weight:0" → array, in spite
                                       of the name no NumPy files; kernels are (kh, kw, in, out), any float type
    s3fd-….pth, 2DFAN4-….pth.tar, …    the authors' own, read by torch without running any code

Which network a file holds is seen from its tensors; whether a FAN is the 2-D or the 3-D one, only from its name.
"""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.detection.fan_engine import network_of, weights_of
from understudy.errors import IncompatibleModel, UnsafeFile
from understudy.facesets import pickles
from understudy.networks.fan import from_published

LARGEST_FILE = 2**29
"""Bytes; the largest of these files has 190 MB."""

S3FD_MARK, FAN_MARK = "conv3_3_norm_mbox_conf.weight", "conv_last_3.weight"


@dataclass(frozen=True, eq=False)
class FaceNetwork:
    """One network's weights. part: `s3fd`, `2dfan` or `3dfan`. engine: which engine calls it as it was trained."""

    part: str
    engine: str
    tensors: dict[str, Tensor]


def read_face_network(path: Path) -> FaceNetwork:
    """The weights in a published file.

    Raises UnsafeFile for pickles that hold more than plain data, IncompatibleModel for anything that is no S3FD or FAN.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise _no_network(path, "it is larger than any file of these networks")
    is_reference = path.suffix.lower() == ".npy"
    tensors = _of_reference(path) if is_reference else _of_authors(path)
    part = _part(path, tensors)
    wanted = weights_of(network_of(part))
    fitted = {}
    for name, like in wanted.items():
        if name not in tensors:
            raise _no_network(path, f"the tensor {name} is missing")
        value = tensors[name]
        if value.numel() != like.numel() or (value.ndim == 4 and like.ndim == 4 and value.shape != like.shape):
            raise _no_network(path, f"{name} is {tuple(value.shape)} where {tuple(like.shape)} is needed")
        fitted[name] = value.reshape(like.shape).float().contiguous()
        if not bool(torch.isfinite(fitted[name]).all()):
            raise _no_network(path, f"{name} holds numbers that are none")
    return FaceNetwork(part, "s3fd-fan" if is_reference else "face-alignment", fitted)


def _part(path: Path, tensors: dict[str, Tensor]) -> str:
    if S3FD_MARK in tensors:
        return "s3fd"
    if FAN_MARK in tensors:
        return "3dfan" if "3d" in path.name.lower() else "2dfan"
    raise _no_network(path, "it holds neither S3FD nor FAN with four stacks")


def _of_reference(path: Path) -> dict[str, Tensor]:
    try:
        found = pickles.loads(path.read_bytes())
    except UnsafeFile as error:
        raise UnsafeFile(f"{path.name}: {error.message}", hint=error.hint, path=path) from error
    if not isinstance(found, dict):
        raise _no_network(path, "it holds no table of tensors")
    return {
        str(key).removesuffix(":0").replace("/", "."): _from_channels_last(value)
        for key, value in found.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f"
    }


def _from_channels_last(value: NDArray[Any]) -> Tensor:
    """A kernel (kh, kw, in, out) as (out, in, kh, kw); weights of one channel axis as one row."""
    if value.ndim == 4 and value.shape[:3] != (1, 1, 1):
        value = value.transpose(3, 2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(value, dtype=np.float32))


def _of_authors(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():  # about pickles that torch itself did not write; the error says enough
            warnings.simplefilter("ignore")
            found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, AttributeError, TypeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnsafeFile(
            f"{path.name} is no file of plain tensors: {reason}",
            hint="It is damaged, or was not made by the authors of these networks.",
            path=path,
        ) from error
    if not isinstance(found, dict):
        raise _no_network(path, "it holds no table of tensors")
    tensors = {str(key): value for key, value in found.items() if isinstance(value, Tensor)}
    return from_published({key.removeprefix("module."): value for key, value in tensors.items()})


def _no_network(path: Path, why: str) -> IncompatibleModel:
    return IncompatibleModel(
        f"{path.name} is not a face network that understudy knows: {why}.",
        hint="Known: S3FD.npy, 2DFAN.npy, 3DFAN.npy of DeepFaceLab; s3fd-….pth, 2DFAN4-….pth.tar of face-alignment.",
        path=path,
    )
