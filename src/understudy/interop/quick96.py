"""Quick96 models of the reference, read into our weights: flat files of a model, or a folder of pretrained files.

    NAME_Quick96_{encoder,inter,decoder_src,decoder_dst}.npy   weights, pickles despite the suffix
    NAME_Quick96_src_dst_opt.npy                               RMSprop's running squares; may be missing
    NAME_Quick96_data.dat                                      iteration, options, losses

Pretrained folders hold the same files without the prefix and without `data.dat`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.errors import IncompatibleModel, MissingModel, UnderstudyError, UnsafeFile
from understudy.facesets import pickles
from understudy.interop.flat import FlatModel
from understudy.interop.layout import from_reference, their_name

NETWORKS = ("encoder", "inter", "decoder_src", "decoder_dst")
OPTIMISER = "src_dst_opt"
ACCUMULATOR = "acc_"

Tensors = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, eq=False)
class ImportedModel:
    """A model of the reference in our terms.

    weights: for `load_state_dict`. squares: RMSprop's running mean of squared gradients by the same names, None where
    there is no usable file. losses: (src, dst) of each iteration, the last being `iteration`'s. notes: what could not
    be used.
    """

    weights: dict[str, Tensor]
    squares: dict[str, Tensor] | None
    optimiser_steps: int
    iteration: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    losses: list[tuple[float, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def read_flat_quick96(model: FlatModel, net: nn.Module) -> ImportedModel:
    """Read a flat Quick96 model; `net` gives names and shapes and is not changed.

    Raises IncompatibleModel naming file and tensor, MissingModel for a missing file, UnsafeFile for a hostile one. An
    optimiser file or history that cannot be used is a note.
    """
    imported = _read(model.folder, model.prefix, net)
    data = _load(model.folder / f"{model.prefix}data.dat")
    options = data.get("options")
    return ImportedModel(
        imported.weights,
        imported.squares,
        imported.optimiser_steps,
        iteration=max(0, int(data.get("iter", 0))),
        options=dict(options) if isinstance(options, dict) else {},
        losses=_losses(data.get("loss_history"), imported.notes),
        notes=imported.notes,
    )


def read_pretrained_quick96(folder: Path, net: nn.Module) -> ImportedModel:
    """Read a folder of un-prefixed files as `read_flat_quick96` reads a model; iteration and history are empty."""
    if not folder.is_dir():
        raise MissingModel("The folder of pretrained files does not exist.", hint="Check --pretrained.", folder=folder)
    return _read(folder, "", net)


def _read(folder: Path, prefix: str, net: nn.Module) -> ImportedModel:
    stored: dict[str, Tensors] = {}
    for network in NETWORKS:
        path = folder / f"{prefix}{network}.npy"
        if not path.is_file():
            raise MissingModel(
                f"A file of the model is missing: {path.name}.",
                hint=f"A Quick96 model needs {', '.join(f'{prefix}{name}.npy' for name in NETWORKS)}.",
                path=path,
            )
        stored[network] = _load(path)
        _require_tensors(path, stored[network], _wanted(net, network))
    notes: list[str] = []
    squares, steps = _optimiser(folder / f"{prefix}{OPTIMISER}.npy", net, notes)
    return ImportedModel(from_reference(net, stored), squares, steps, notes=notes)


def _wanted(net: nn.Module, network: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes that the reference's file of one network has."""
    wanted = {}
    for name, tensor in net.state_dict().items():
        of_network, key = their_name(name)
        if of_network == network:
            out, *rest = tensor.shape
            wanted[key] = (*rest[1:], rest[0], out) if tensor.ndim == 4 else tuple(reversed(tensor.shape))
    return wanted


def _require_tensors(path: Path, found: Tensors, wanted: Mapping[str, tuple[int, ...]]) -> None:
    hint = "The file is of another architecture or was not copied whole."
    for name, shape in wanted.items():
        if name not in found:
            raise IncompatibleModel(f"{path.name} has no tensor {name}.", hint=hint, path=path, tensor=name)
        value = found[name]
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
            raise IncompatibleModel(f"{path.name}: {name} is no array of numbers.", hint=hint, path=path, tensor=name)
        if value.shape != shape:
            raise IncompatibleModel(
                f"{path.name}: {name} has the shape {value.shape} where {shape} is expected.",
                hint=hint,
                path=path,
                tensor=name,
            )


def _optimiser(path: Path, net: nn.Module, notes: list[str]) -> tuple[dict[str, Tensor] | None, int]:
    """RMSprop's squares by our names, and its step count; (None, 0) with a note when the file is not usable."""
    if not path.is_file():
        notes.append(f"{path.name} is not there: the optimiser starts afresh.")
        return None, 0
    try:
        found = _load(path)
        grouped: dict[str, Tensors] = {network: {} for network in NETWORKS}
        for key, value in found.items():
            network, _, tensor = key.removeprefix(ACCUMULATOR).partition("/")
            if key.startswith(ACCUMULATOR) and network in grouped:
                grouped[network][tensor.removesuffix("_0:0") + ":0"] = value
        for network in NETWORKS:
            _require_tensors(path, grouped[network], _wanted(net, network))
        return from_reference(net, grouped), int(found.get("iters:0", 0))
    except UnderstudyError as error:
        notes.append(f"{path.name} cannot be used and the optimiser starts afresh: {error.message}")
        return None, 0


def _losses(stored: Any, notes: list[str]) -> list[tuple[float, float]]:
    try:
        return [(float(src), float(dst)) for src, dst in stored or []]
    except (TypeError, ValueError):
        notes.append("The loss history cannot be read and starts afresh.")
        return []


def _load(path: Path) -> dict[str, Any]:
    """The dict in one of the reference's files, by the restricted unpickler."""
    try:
        found = pickles.loads(path.read_bytes())
    except UnsafeFile as error:
        raise UnsafeFile(f"{path.name}: {error.message}", hint=error.hint, path=path) from error
    if not isinstance(found, dict):
        raise IncompatibleModel(
            f"{path.name} does not hold a table of names.", hint="It is some other file.", path=path
        )
    return found
