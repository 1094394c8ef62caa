"""Models written as the reference's flat files, so that it loads them: the inverse of reading them.

    weights and moments → network_files, optimiser_files → PlannedFile: names in the reference's order → write_flat_file
    options, losses     → data_entries → write_data                 summary_text → NAME_CLASS_summary.txt

Tensors are read, turned round and written one at a time, so a model of any size is exported with the room of its
largest tensor. Weight files are pickles of protocol 4 in spite of their suffix, `data.dat` one of protocol 3, the
default of the Python that the reference's Windows build ran on; arrays in them carry NumPy's module names of old.
(spec: weights, 1 to 4, 6, 7, 10 and 13.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from understudy.facesets import pickles
from understudy.interop import flat_names
from understudy.interop.flat_names import (
    DISCRIMINATORS,
    MOMENTS,
    SWAPPER_NETWORKS,
    WHOLE,
    XSEG,
    optimiser_part,
    part_of,
)
from understudy.interop.layout import their_name, to_theirs
from understudy.networks.families import family_for
from understudy.records import CODE_DISCRIMINATOR, GAN

ITERATIONS = "iterations"
"""Our name of the count of steps in the state of an optimiser."""


class Tensors(Protocol):
    """Tensors that are somewhere else: what there is, and each of them when it is asked for."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]: ...

    def read(self, name: str) -> NDArray[Any]: ...


@dataclass(frozen=True)
class Entry:
    """One tensor of a file. key: the reference's name. source: ours. weight: whose layout it has, by our name."""

    key: str
    source: str
    weight: str


@dataclass(frozen=True)
class PlannedFile:
    """One file of tensors. name: without what the model's files begin with. counter: our name of its `iters:0`."""

    name: str
    entries: tuple[Entry, ...]
    counter: str | None = None


@dataclass(frozen=True)
class PlannedFiles:
    """What the tensors of a saved state become. left: our names of those that the reference has no place for."""

    files: tuple[PlannedFile, ...]
    left: tuple[str, ...] = ()

    @property
    def sources(self) -> list[str]:
        """Our names of everything that is written."""
        return [entry.source for file in self.files for entry in file.entries]


# -- which tensor goes where


def network_files(model_class: str, shapes: Mapping[str, tuple[int, ...]]) -> PlannedFiles:
    """The files of the networks: what the swapper or mask network consists of, and its discriminators if it has any."""
    grouped: dict[str, list[str]] = {}
    for name in shapes:
        grouped.setdefault(their_name(name)[0], []).append(name)
    files = []
    for network in _networks(model_class):
        if network in grouped:
            ordered = in_build_order(model_class, network, grouped.pop(network))
            entries = tuple(Entry(their_name(name)[1], name, name) for name in ordered)
            files.append(PlannedFile(f"{part_of(network)}.npy", entries))
    return PlannedFiles(tuple(files), tuple(name for names in grouped.values() for name in names))


def optimiser_files(model_class: str, shapes: Mapping[str, tuple[int, ...]], weights: Sequence[str]) -> PlannedFiles:
    """The files of the optimisers. shapes: of the optimiser's tensors, by our names; weights: names of the weights.

    A file covers the moments that are there; the reference starts those afresh that it misses.
    """
    files: list[PlannedFile] = []
    taken = set[str]()
    for group in (WHOLE, *DISCRIMINATORS):
        begin = f"{group}/" if group else ""
        kind = next((kind for kind in MOMENTS.values() if _has_moments(shapes, begin, kind)), None)
        if kind is None or f"{begin}{ITERATIONS}" not in shapes:
            continue
        entries = []
        for ours, theirs in kind.items():
            for network in _trained(model_class, group):
                names = [name for name in weights if their_name(name)[0] == network]
                for name in in_build_order(model_class, network, names):
                    source = f"{begin}{ours}.{name.removeprefix(f'{group}.') if group else name}"
                    if source in shapes:
                        key = their_name(name)[1].removesuffix(":0")
                        entries.append(Entry(f"{theirs}_{_scope(model_class, network)}/{key}_0:0", source, name))
        files.append(PlannedFile(f"{optimiser_part(model_class, group)}.npy", tuple(entries), f"{begin}{ITERATIONS}"))
        taken |= {entry.source for entry in entries}
    left = tuple(name for name in shapes if name not in taken and name.split("/")[-1] not in _OURS_ALONE)
    return PlannedFiles(tuple(files), left)


def in_build_order(model_class: str, network: str, names: Sequence[str]) -> list[str]:
    """Our names of one network's tensors in the order in which the reference builds them, and so writes them."""
    order = _XSEG_ORDER if model_class == XSEG else _decoder_order(model_class, names)
    if network in DISCRIMINATORS:
        order = _DISCRIMINATOR_ORDER

    def rank(name: str) -> tuple[Any, ...]:
        head, *inner, parameter = their_name(name)[1].removesuffix(":0").split("/")
        stem = re.sub(r"_\d+$", "", head)
        known = order.index(stem) if stem in order else len(order)
        return known, _number_in(head), [(_number_in(part), part) for part in inner], _PARAMETERS.index(parameter)

    return sorted(names, key=rank)


_PARAMETERS = ("weight", "bias", "eps", "tau")

_DISCRIMINATOR_ORDER = ("convs", "upconvs", "in_conv", "out_conv", "center_out", "center_conv")

_XSEG_ORDER = (
    "conv01", "conv02", "conv11", "conv12", "conv21", "conv22", "conv31", "conv32",
    "conv33", "conv41", "conv42", "conv43", "conv51", "conv52", "conv53",
    "dense1", "dense2",
    "up5", "uconv53", "uconv52", "uconv51",
    "up4", "uconv43", "uconv42", "uconv41",
    "up3", "uconv33", "uconv32", "uconv31",
    "up2", "uconv22", "uconv21",
    "up1", "uconv12", "uconv11",
    "up0", "uconv02", "uconv01",
    "out_conv",
)  # fmt: skip

_OTHER_BLOCKS = ("down1", "res1", "down2", "down3", "down4", "down5", "res5", "dense1", "dense2")


def _decoder_order(model_class: str, names: Sequence[str]) -> tuple[str, ...]:
    """Blocks of encoders, inters and decoders. The mask's extra stage of letter d is built after the face's outputs."""
    stages = sum(1 for name in names if re.search(r"\.upscale\d\.conv1\.weight$", name))
    ups = [f"upscale{index}" for index in range(4)] + [f"res{index}" for index in range(4)]
    outs = ("out_conv", "out_conv1", "out_conv2", "out_conv3")
    if model_class == "AMP":
        masks = tuple(f"upscalem{index}" for index in range(5))
        blocks = (*ups, *masks, "out_convm", *outs)
    else:
        masks = tuple(f"upscalem{index}" for index in range(stages))
        blocks = (*ups, *masks, *outs, f"upscalem{stages}", "out_convm")
    is_decoder = any(".out_convm." in name for name in names)
    return blocks if is_decoder else (*_OTHER_BLOCKS, "upscale1")


def _number_in(part: str) -> int:
    found = re.search(r"_(\d+)$", part)
    return int(found.group(1)) if found else -1


_OURS_ALONE = (ITERATIONS, "kind", "ages", "generator", "scale", "lengths")


def _networks(model_class: str) -> tuple[str, ...]:
    """In the order of the reference's own list, whatever the architecture."""
    return (WHOLE,) if model_class == XSEG else (*SWAPPER_NETWORKS, *DISCRIMINATORS)


def _trained(model_class: str, group: str) -> tuple[str, ...]:
    """The networks that an optimiser of the reference covers."""
    if group or model_class == XSEG:
        return (group,)
    untrained = family_for(model_class).untrained
    return tuple(name for name in SWAPPER_NETWORKS if name not in untrained)


def _scope(model_class: str, network: str) -> str:
    """What the names of an optimiser's tensors begin with."""
    if network == GAN:
        return "GAN" if model_class == "AMP" else "D_src"
    return {CODE_DISCRIMINATOR: "dis", WHOLE: XSEG}.get(network, network)


def _has_moments(shapes: Mapping[str, Any], begin: str, kinds: Mapping[str, str]) -> bool:
    return all(any(name.startswith(f"{begin}{kind}.") for name in shapes) for kind in kinds)


# -- writing


def write_flat_file(
    path: Path, file: PlannedFile, tensors: Tensors, *, each: Callable[[str], None] = lambda source: None
) -> None:
    """Write one file of tensors. each: told our name of every tensor that has been written."""

    def entries() -> Iterator[tuple[str, Any]]:
        if file.counter is not None:
            yield flat_names.ITERATIONS, np.int64(tensors.read(file.counter).reshape(-1)[0])
        for entry in file.entries:
            yield entry.key, to_theirs(entry.weight, torch.from_numpy(tensors.read(entry.source)))
            each(entry.source)

    _write(path, pickles.dump_entries(entries(), protocol=4))


def write_data(
    path: Path,
    *,
    iteration: int,
    options: Mapping[Any, Any],
    losses: NDArray[np.floating[Any]],
    sample_for_preview: Any = None,
    extra: Mapping[Any, Any] | None = None,
) -> None:
    """Write a `data.dat`. iteration: at least 1, since the reference starts anew from 0. losses: (N, 2) or (N, 1).

    sample_for_preview: nested lists of arrays in the reference's colours and layout. extra: what else the file held.
    """
    if iteration < 1:
        raise ValueError("the reference takes iteration 0 for a model that was never trained")
    entries = {
        "iter": iteration,
        "options": dict(options),
        "loss_history": losses.astype(np.float64).tolist(),
        "sample_for_preview": sample_for_preview,
        "choosed_gpu_indexes": None,
        **(extra or {}),
    }
    _write(path, pickles.dump_entries(entries.items(), protocol=3))


def write_options(path: Path, options: Mapping[Any, Any]) -> None:
    """Write a `CLASS_default_options.dat`."""
    path.write_bytes(pickles.dumps(dict(options), protocol=3))


def _write(path: Path, pieces: Iterator[pickles.Piece]) -> None:
    with path.open("wb", buffering=1 << 20) as handle:
        for piece in pieces:
            handle.write(piece)


# -- what is said of the model


def as_the_reference_types(model_class: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a model that never was the reference's, with NumPy's numbers where it has them.

    It clips what was typed with NumPy: int64 for sizes and dimensions, float64 for powers (spec: weights, 7).
    """
    types: dict[str, Callable[[Any], Any]] = dict.fromkeys(_WHOLE, np.int64) | dict.fromkeys(_REAL, np.float64)
    if model_class == XSEG:
        types["batch_size"] = np.int64
    if str(options.get("archi", "")).startswith("liae"):
        types.pop("true_face_power")  # not asked, and so not clipped
    return {name: types[name](value) if name in types else value for name, value in options.items()}


_WHOLE = ("resolution", "ae_dims", "inter_dims", "e_dims", "d_dims", "d_mask_dims", "gan_patch_size", "gan_dims")
_REAL = (
    "morph_factor", "random_hsv_power", "gan_power", "true_face_power", "face_style_power", "bg_style_power",
)  # fmt: skip


def summary_text(model: str, iteration: int, options: Mapping[Any, Any], written_by: str) -> str:
    """`NAME_CLASS_summary.txt`: a box for people, which no program reads. model: such as `new_SAEHD`."""
    blocks = [
        ("Model", {"Name": model, "Iterations": iteration}),
        ("Options", {**options, **_overridden(options)}),
        ("Written by", {"Program": written_by}),
    ]
    left = max(len(str(name)) for _, rows in blocks for name in rows)
    right = max(len(str(value)) for _, rows in blocks for value in rows.values())
    width = left + right + 2
    lines = []
    for title, rows in blocks:
        lines += [f"=={f' {title} ':-^{width + 2}}==", f"=={'':{width + 2}}=="]
        lines += [f"== {name!s:>{left}}: {value!s:<{right}} ==" for name, value in rows.items()]
        lines += [f"=={'':{width + 2}}=="]
    edge = "=" * (width + 6)
    return "\n".join([edge, *lines, edge]) + "\n"


def _overridden(options: Mapping[Any, Any]) -> dict[str, Any]:
    """What pretraining puts in the place of the stored options (spec: training, 3)."""
    if not options.get("pretrain"):
        return {}
    values = {
        "uniform_yaw": True, "lr_dropout": "n", "random_warp": False, "random_hsv_power": 0.0, "face_style_power": 0.0,
        "bg_style_power": 0.0, "ct_mode": "none", "random_src_flip": True, "random_dst_flip": True, "gan_power": 0.0,
    }  # fmt: skip
    return {name: value for name, value in values.items() if name in options}
