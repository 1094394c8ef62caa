"""Small models in the reference's flat files, made here: `from made_models import write_flat`.

The files are written with Python's own pickle, as the reference does, and not with what is tested.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from understudy.interop.layout import shape_in_file, their_name
from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.families import family_for
from understudy.networks.patch_discriminator import UnetPatchDiscriminator
from understudy.networks.saehd import SaehdConfig, code_grid
from understudy.records import Archi, FaceType

SMALL = {"resolution": 64, "ae_dims": 8, "e_dims": 8, "d_dims": 8, "d_mask_dims": 4}

OPTIONS: dict[str, dict[str, Any]] = {
    "SAEHD": {
        **{name: np.int64(value) for name, value in SMALL.items()},
        "face_type": "wf",
        "archi": "df-ud",
        "adabelief": True,
        "lr_dropout": "n",
        "random_hsv_power": np.float64(0.05),
        "true_face_power": 0.0,
        "random_src_flip": False,
        "random_dst_flip": True,
        "batch_size": 6,
        "gan_power": np.float64(0.1),
        "gan_patch_size": np.int32(8),
        "gan_dims": 8,
        "models_opt_on_gpu": True,
        "an_option_of_tomorrow": "kept",
    },
    "AMP": {
        **{name: np.int64(value) for name, value in SMALL.items()},
        "inter_dims": np.int64(12),
        "morph_factor": np.float64(0.5),
        "face_type": "f",
        "batch_size": 2,
        "gan_power": 0.0,
    },
    "Quick96": {"batch_size": 4},
    "XSeg": {"face_type": "wf", "pretrain": False, "batch_size": np.int64(2)},
}

Table = dict[str, NDArray[Any]]
SCOPES = {"GAN": {"SAEHD": "D_src", "AMP": "GAN"}, "code_discriminator": {"SAEHD": "dis"}}
OPTIMISERS = {"GAN": "GAN_opt", "code_discriminator": "D_code_opt"}


@dataclass
class Flat:
    """What was written. tables: by part (`encoder`, `GAN`, `src_dst_opt`), as in the files."""

    folder: Path
    prefix: str
    options: dict[str, Any]
    data: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, Table] = field(default_factory=dict)

    def file(self, part: str) -> Path:
        return self.folder / f"{self.prefix}{part}"

    def change(self, part: str, edit: Callable[[dict[str, Any]], Any]) -> Path:
        """Edit the dictionary in a file, such as `encoder.npy` or `data.dat`."""
        path = self.file(part)
        found = pickle.loads(path.read_bytes())
        edit(found)
        path.write_bytes(pickle.dumps(found, 4))
        return path


def write_flat(
    folder: Path,
    name: str = "new",
    model_class: str = "SAEHD",
    *,
    iteration: int = 1234,
    optimiser: str | None = "adabelief",
    discriminators: tuple[str, ...] = (),
    sample: Any = None,
    seed: int = 1,
    protocol: int = 4,
    **options: Any,
) -> Flat:
    """Write a model with random weights; options are laid over OPTIONS[model_class]."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    chosen = {**OPTIONS[model_class], **options}
    flat = Flat(folder, "XSeg_" if model_class == "XSeg" else f"{name}_{model_class}_", chosen)
    shapes = network_shapes(model_class, chosen)
    for key, shape in shapes.items():
        network, tensor = their_name(key)
        flat.tables.setdefault(network or "256", {})[tensor] = _drawn(rng, shape_in_file(key, shape))
    if optimiser:
        trained = [key for key in shapes if model_class != "AMP" or not key.startswith("inter_")]
        part = "256_opt" if model_class == "XSeg" else "src_dst_opt"
        own = {_scoped(key, model_class): shape_in_file(key, shapes[key]) for key in trained}
        flat.tables[part] = _moments(rng, optimiser, own, iteration)
    for network in discriminators:
        own = {
            their_name(key)[1]: shape_in_file(key, shape)
            for key, shape in discriminator_shapes(network, chosen).items()
        }
        flat.tables[network] = {tensor: _drawn(rng, shape) for tensor, shape in own.items()}
        scope = SCOPES[network][model_class]
        scoped = {f"{scope}/{tensor}": shape for tensor, shape in own.items()}
        flat.tables[OPTIMISERS[network]] = _moments(rng, optimiser or "adabelief", scoped, iteration // 2)
    for part, table in flat.tables.items():
        flat.file(f"{part}.npy").write_bytes(pickle.dumps(table, protocol))
    width = 1 if model_class == "XSeg" else 2
    flat.data = {
        "iter": iteration,
        "options": chosen,
        "loss_history": (rng.random((20, width)) * 4).tolist(),
        "sample_for_preview": sample,
        "choosed_gpu_indexes": None,
    }
    flat.file("data.dat").write_bytes(pickle.dumps(flat.data, protocol))
    flat.file("summary.txt").write_text("== summary ==")
    return flat


def preview_sample(size: int = 64, batch: int = 2) -> list[list[NDArray[np.float32]]]:
    """[src, dst] of [warped, target, mask, eyes-mouth mask], as SAEHD keeps them."""
    rng = np.random.default_rng(5)
    return [[rng.random((batch, size, size, c), dtype=np.float32) for c in (3, 3, 1, 1)] for _ in range(2)]


def network_shapes(model_class: str, options: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Our names and shapes of a network with these options of the reference."""
    family = family_for(model_class)
    if model_class == "Quick96":  # one network for all
        with torch.device("meta"):
            return {name: tuple(tensor.shape) for name, tensor in family.build().state_dict().items()}
    numbers = {
        name: int(options[name])
        for name in ("ae_dims", "inter_dims", "e_dims", "d_dims", "d_mask_dims")
        if name in options
    }
    if "resolution" in options:
        numbers["size"] = int(options["resolution"])
    more = {"archi": Archi.parse(options["archi"])} if "archi" in options else {}
    with torch.device("meta"):
        net = family.build(family.config(face_type=FaceType(options["face_type"]), **numbers, **more))
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def discriminator_shapes(network: str, options: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a discriminator."""
    with torch.device("meta"):
        if network == "GAN":
            net: torch.nn.Module = UnetPatchDiscriminator(int(options["gan_patch_size"]), int(options["gan_dims"]))
        else:
            config = SaehdConfig(size=int(options["resolution"]), archi=Archi.parse(options["archi"]), ae_dims=8)
            net = CodeDiscriminator(int(options["ae_dims"]), code_grid(config))
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}


def _scoped(key: str, model_class: str) -> str:
    network, tensor = their_name(key)
    return f"{network or model_class}/{tensor}"


def _moments(rng: np.random.Generator, kind: str, shapes: dict[str, tuple[int, ...]], steps: int) -> dict[str, Any]:
    stored: dict[str, Any] = {"iters:0": np.int64(steps)}
    for start in ("ms", "vs") if kind == "adabelief" else ("acc",):
        for tensor, shape in shapes.items():
            stored[f"{start}_{tensor.removesuffix(':0')}_0:0"] = _drawn(rng, shape)
    return stored


def _drawn(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Small numbers, in large arrays the same ones again and again, begun at another place in each."""
    table = rng.standard_normal(4093, dtype=np.float32) * np.float32(0.1)
    return np.resize(table, shape)
