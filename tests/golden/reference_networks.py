"""Reading the reference's networks out of the golden data: weight files, inputs and outputs."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.facesets import pickles
from understudy.interop.layout import from_reference, shape_in_file, their_name, to_ours, to_theirs

Tensors = dict[str, NDArray[np.float32]]

# Arrays may be stored in 16 bits (7.7e-6), and the reference itself moves by 1e-5 with the batch size.
TOLERANCE = 1e-4
# x·cos(x) has a slope of up to |x|, so each layer multiplies the rounding of the one before: two exact programs differ
# by up to 1.6e-4 at the end.
COSINE_TOLERANCE = 5e-4


@dataclass(frozen=True)
class StoredModel:
    """One archive of flat files. prefix: what their names begin with."""

    name: str
    archive: Path
    prefix: str
    described: Mapping[str, Any]

    @property
    def options(self) -> dict[str, Any]:
        """The options that its `data.dat` holds."""
        options: dict[str, Any] = self.read("data.dat")["options"]
        return options

    def read(self, file: str) -> dict[str, Any]:
        """One file, such as `encoder.npy`."""
        with zipfile.ZipFile(self.archive) as opened:
            held: dict[str, Any] = pickles.loads(opened.read(self.prefix + file))
            return held

    def has(self, file: str) -> bool:
        with zipfile.ZipFile(self.archive) as opened:
            return self.prefix + file in opened.namelist()

    def pictures(self) -> Pictures:
        return Pictures(self.archive.with_name(f"{self.name}_io.npz"))

    def weights_for(self, net: nn.Module) -> dict[str, Tensor]:
        """The weights of every network of a swapper, as ours."""
        return from_reference(net, {name: self.read(f"{name}.npy") for name, _ in net.named_children()})


class Pictures:
    """The inputs and outputs of one network. Colours come as (B,3,H,W) RGB."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self.arrays = {name: stored[name] for name in stored.files}

    def __contains__(self, name: str) -> bool:
        return name in self.arrays or f"{name}_u16" in self.arrays

    def __getitem__(self, name: str) -> Tensor:
        narrow = self.arrays.get(f"{name}_u16")
        return picture(self.arrays[name] if narrow is None else narrow.astype(np.float32) / 65535)

    def features(self, name: str) -> Tensor:
        """Feature maps (B,h,w,C) as (B,C,h,w), or vectors (B,N) as they are."""
        array = torch.from_numpy(self.arrays[name])
        return array.permute(0, 3, 1, 2) if array.ndim == 4 else array


def stored_models(golden: Path, model_class: str) -> list[StoredModel]:
    """Every model of a class whose description and archive are there; skips the test when there is none."""
    found = []
    for path in sorted((golden / "nets").glob("*.json")):
        described = json.loads(path.read_text())
        files = described.get("files", {})
        encoder = next((name for name in files if name.endswith(f"_{model_class}_encoder.npy")), None)
        if encoder and path.with_suffix(".zip").is_file():
            prefix = encoder.removesuffix("encoder.npy")
            found.append(StoredModel(path.stem, path.with_suffix(".zip"), prefix, described))
    if not found:
        pytest.skip(f"there is no {model_class} network in the golden data")
    return found


def picture(array: NDArray[Any]) -> Tensor:
    """(B,H,W,C) BGR or one channel → (B,C,H,W) RGB or one channel."""
    return torch.from_numpy(array[..., ::-1].copy()).permute(0, 3, 1, 2)


def deviations(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, float]:
    """The largest absolute difference of each pair."""
    return {name: float((ours - theirs).abs().max()) for name, (ours, theirs) in pairs.items()}


def require_within(name: str, found: Mapping[str, float], tolerance: float = TOLERANCE) -> None:
    """Print the deviations (seen with `pytest -rP`) and hold each against the tolerance."""
    print(name, " ".join(f"{output} {value:.1e}" for output, value in found.items()))
    beyond = {output: value for output, value in found.items() if not value <= tolerance}
    assert not beyond, f"{name}: {beyond} exceed {tolerance}"


def require_same_after_a_round_trip(wanted: Mapping[str, Tensor], stored: Mapping[str, Tensors]) -> None:
    """Every stored tensor is one of ours, of the shape that ours says, and the same after going to ours and back."""
    ours = {their_name(name): (name, tuple(tensor.shape)) for name, tensor in wanted.items()}
    for network, tensors in stored.items():
        for key, value in tensors.items():
            name, shape = ours[network, key]
            assert value.shape == shape_in_file(name, shape), name
            tensor = to_ours(name, value)
            assert tuple(tensor.shape) == shape, name
            np.testing.assert_array_equal(to_theirs(name, tensor), value)


def moments(stored: Mapping[str, Any], network_of_scope: Mapping[str, str]) -> dict[str, dict[str, Tensors]]:
    """An optimiser file by kind of moment (`acc`, `ms`, `vs`), network and tensor."""
    kinds: dict[str, dict[str, Tensors]] = {}
    for key, value in stored.items():
        if key != "iters:0":
            scope, _, path = key.partition("/")
            kind, _, scope = scope.partition("_")
            network = network_of_scope.get(scope, scope)
            kinds.setdefault(kind, {}).setdefault(network, {})[path.removesuffix("_0:0") + ":0"] = value
    return kinds
