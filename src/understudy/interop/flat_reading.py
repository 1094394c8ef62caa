"""Flat models of the reference, opened: everything that their files say, in our terms, tensors left in the files.

    NAME_CLASS_data.dat                 iteration, options, losses, preview sample: read at once
    NAME_CLASS_{encoder,inter,…}.npy    networks; XSeg_256.npy        ─┐ tensors, each read and turned into ours when it
    NAME_CLASS_{GAN,code_discriminator}.npy   networks that judge      ├ is asked for: a model needs no more memory than
    NAME_CLASS_{src_dst,GAN,D_code}_opt.npy, XSeg_256_opt.npy          ─┘ its largest tensor

What a swap needs must be there and fit, to the tensor; what only training needs may be missing or damaged, begins anew
then, and is named in `notes` (spec: weights, 5). Folders of pretrained files hold the same without the prefix.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from understudy.errors import IncompatibleModel, InvalidOption, MissingModel, UnderstudyError, UnsafeFile
from understudy.interop import reference_options
from understudy.interop.flat import DATA, UNFINISHED, XSEG, FlatModel, find_backups
from understudy.interop.flat_files import (
    FlatFile,
    FlatTensors,
    Taken,
    is_finite,
    open_file,
    part_reader,
    require_tensor,
)
from understudy.interop.layout import our_name, shape_in_file, their_name
from understudy.interop.reference_record import ReferenceRecord, loss_names
from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.families import config_from_plain, config_to_plain, family_for
from understudy.networks.patch_discriminator import UnetPatchDiscriminator
from understudy.networks.saehd import SaehdConfig, code_grid

GAN, CODE_DISCRIMINATOR = "gan", "code_discriminator"
"""Networks that judge, as they are called in a saved state."""

LATEST_ITERATION = 10**9
ITERATIONS = "iters:0"

_MOMENT = re.compile(r"(?P<kind>acc|ms|vs)_(?P<network>[^/]+)/(?P<tensor>.+)_0:0")
_OUR_MOMENTS = {"acc": "moment", "ms": "first", "vs": "second"}
_KNOWN_DATA = ("iter", "options", "loss_history", "sample_for_preview", "choosed_gpu_indexes")


@dataclass(eq=False)
class OpenedModel:
    """A flat model in our terms; its tensors can be read until its files are closed.

    net: the network without any weights, on torch's device meta. config, options: plain, as `model.json` holds them.
    weights: of the network, and behind `gan.` and `code_discriminator.` of those that judge it. optimiser: its state in
    our names, None where there is none to use; optimiser_kind: `adabelief` or `rmsprop`. losses: one entry for each of
    the last iterations, by `loss_names`. notes: what could not be used or is not as it should be, in sentences. unused:
    names of files that nothing was read from.
    """

    flat: FlatModel
    net: nn.Module
    config: dict[str, Any]
    options: dict[str, Any]
    iteration: int
    losses: list[Any]
    record: ReferenceRecord
    weights: FlatTensors
    optimiser: FlatTensors | None = None
    optimiser_kind: str | None = None
    notes: list[str] = field(default_factory=list)
    unused: list[str] = field(default_factory=list)

    @property
    def size_bytes(self) -> int:
        """Of all tensors that are to be read."""
        return self.weights.size_bytes + (self.optimiser.size_bytes if self.optimiser else 0)


@contextlib.contextmanager
def read_flat_model(flat: FlatModel, *, without: Mapping[str, str] | None = None) -> Iterator[OpenedModel]:
    """Open a flat model. without: parts to leave out, such as `GAN`, each with the reason (`UnusablePart`).

    Raises MissingModel for a missing file, IncompatibleModel naming file and tensor with the expected and the found
    shape, UnsafeFile for a file that is damaged or no plain data.
    """
    with contextlib.ExitStack() as files:
        yield _Reader(flat, files, dict(without or {})).opened()


def unprefixed_model(folder: Path, model_class: str) -> FlatModel:
    """A folder of pretrained files, `encoder.npy` and so on, as a flat model without a name. Raises MissingModel."""
    if not folder.is_dir():
        raise MissingModel("The folder of pretrained files does not exist.", hint="Check --pretrained.", folder=folder)
    files = tuple(sorted(path for path in folder.iterdir() if path.is_file()))
    return FlatModel("", model_class, folder, files, 0, datetime.now(UTC))


class _Reader:
    """Reads one flat model, part by part."""

    def __init__(self, flat: FlatModel, files: contextlib.ExitStack, without: dict[str, str]) -> None:
        self.flat, self.files, self.without = flat, files, without
        self.notes: list[str] = []
        self.used: list[Path] = []
        self.is_xseg = flat.model_class == XSEG

    def opened(self) -> OpenedModel:
        data_file = self._data_file()
        data = self._taken(data_file) if data_file else {}
        iteration = self._iteration(data)
        options = self._options(data)
        defaults = self._default_options()
        ours = reference_options.to_ours(self.flat.model_class, options, defaults)
        self.notes += ours.notes
        family = family_for(self.flat.model_class)
        try:
            config = config_from_plain(family, {**config_to_plain(family.config()), **ours.config})
            with torch.device("meta"):
                net = family.build(config)
        except (InvalidOption, IncompatibleModel) as error:
            raise IncompatibleModel(
                f"No network can be built from the options of {self._what}: {error.message}",
                hint=error.hint or "Its data.dat is damaged, or of a program that is not known.",
                path=self.flat.folder,
            ) from error
        weights = self._weights(net)
        optimiser, kind = self._main_optimiser(net)
        self._judges(config, ours.training, weights, optimiser)
        losses = self._losses(data)
        return OpenedModel(
            self.flat,
            net,
            config_to_plain(config),
            self._training_options(ours.training),
            iteration,
            losses,
            self._record(data, options, defaults, iteration, losses),
            weights,
            optimiser if optimiser.kinds else None,
            kind if optimiser.kinds else None,
            self.notes,
            self._unused(),
        )

    # -- data.dat and default options

    def _data_file(self) -> FlatFile | None:
        path = self._part(DATA)
        if path is not None:
            return self._index(path)
        if self.is_xseg:
            self.notes.append("There is no XSeg_data.dat: whole faces are assumed, and the iteration is not known.")
        elif self.flat.name:
            raise MissingModel(
                f"A file of the model is missing: {self.flat.prefix}{DATA}.",
                hint="Without it the architecture is not known.",
                folder=self.flat.folder,
            )
        return None

    def _taken(self, file: FlatFile) -> dict[str, Any]:
        """The entries of `data.dat`; losses, which may be millions, as they are."""
        taken = Taken(file)
        return {key: value if key == "loss_history" else taken.copy(value) for key, value in file.entries.items()}

    def _iteration(self, data: Mapping[str, Any]) -> int:
        found = data.get("iter", 0)
        is_number = isinstance(found, int | float | np.number) and not isinstance(found, bool)
        if not is_number or not 0 <= float(found) < LATEST_ITERATION:
            raise IncompatibleModel(
                f"{self.flat.prefix}{DATA} does not say a sensible iteration count.",
                hint=self._or_backup("It is damaged."),
                path=self.flat.folder,
            )
        if not found and data and self.flat.name:
            self.notes.append(
                f"{self._what} is at iteration 0, which DeepFaceLab takes for a model that begins anew; here its "
                "weights are kept as they are."
            )
        return int(found)

    def _options(self, data: Mapping[str, Any]) -> dict[Any, Any]:
        found = data.get("options", {})
        if not isinstance(found, dict) or (not found and self.flat.model_class in ("SAEHD", "AMP")):
            never = not data.get("iter", 0)
            raise IncompatibleModel(
                f"{self.flat.prefix}{DATA} holds no options, so that the architecture is not known.",
                hint="The model was never trained." if never else self._or_backup("It is damaged."),
                path=self.flat.folder,
            )
        return found

    def _default_options(self) -> dict[Any, Any] | None:
        """Those of the class; a file that cannot be read is passed over, as the reference does."""
        path = self.flat.folder / f"{self.flat.model_class}_default_options.dat"
        if not self.flat.name or not path.is_file():
            return None
        try:
            file = open_file(path, self.files)
            found: dict[Any, Any] = Taken(file).copy(file.entries)
            return found
        except UnderstudyError:
            self.notes.append(f"{path.name} cannot be read and is left out.")
            return None

    def _training_options(self, training: dict[str, Any]) -> dict[str, Any]:
        if training.get("pretrain"):
            self.notes.append("The model is in pretraining (option pretrain).")
        return training

    def _losses(self, data: Mapping[str, Any]) -> list[Any]:
        stored = data.get("loss_history")
        width = len(loss_names(self.flat.model_class))
        try:
            if stored is None or stored == []:
                return []
            if not isinstance(stored, list) or not all(_are_losses(entry, width) for entry in stored):
                raise ValueError("other losses than this class has")
            table = np.array(stored, np.float64)
            if np.any(np.isfinite(table) & (np.abs(table) > np.finfo(np.float32).max)):
                raise ValueError("losses beyond all reason")
        except (TypeError, ValueError, OverflowError):
            self.notes.append("The loss history cannot be read and begins anew.")
            return []
        return list(table.tolist())

    def _record(
        self,
        data: Mapping[str, Any],
        options: dict[Any, Any],
        defaults: dict[Any, Any] | None,
        iteration: int,
        losses: list[Any],
    ) -> ReferenceRecord:
        exact = np.array(losses, np.float64)
        extra = {key: value for key, value in data.items() if key not in _KNOWN_DATA}
        if data.get("choosed_gpu_indexes") is not None:
            extra["choosed_gpu_indexes"] = data["choosed_gpu_indexes"]
        if any(key not in _KNOWN_DATA for key in extra):
            self.notes.append(
                f"Not known here, and kept for the way back: {reference_options.listed(extra)} in {DATA}."
            )
        sizes = {path.name: path.stat().st_size for path in self.used}
        return ReferenceRecord(
            self.flat.model_class,
            self.flat.name,
            iteration,
            options,
            defaults,
            None if _fits_float32(exact) else exact,
            data.get("sample_for_preview"),
            extra,
            sizes,
        )

    # -- networks

    def _weights(self, net: nn.Module) -> FlatTensors:
        """The network's own tensors, each of which must be there."""
        weights = FlatTensors()
        files: dict[str, FlatFile] = {}
        for name, tensor in net.state_dict().items():
            network, key = their_name(name)
            part = f"{network or '256'}.npy"
            if part not in files:
                files[part] = self._index(self._required(part))
            shape = tuple(tensor.shape)
            require_tensor(files[part], key, shape_in_file(name, shape))
            weights.add(name, shape, self._weight_reader(files[part], key, name))
        for part, file in files.items():
            surplus = len(file.entries) - sum(
                their_name(name)[0] == part.removesuffix(".npy") for name in weights.kinds
            )
            if surplus and not self.is_xseg:
                self.notes.append(f"{file.path.name} holds {surplus} tensors more than this network has.")
        return weights

    def _judges(self, config: Any, training: Mapping[str, Any], weights: FlatTensors, optimiser: FlatTensors) -> None:
        """The networks that judge and their optimisers, where their files are there and fit."""
        gan = self._judge("GAN", GAN, lambda: _patch_discriminator(config, training), weights)
        if gan is not None:
            self._optional("GAN_opt", lambda: self._moments("GAN_opt", gan, optimiser, GAN))
        part = CODE_DISCRIMINATOR
        code = self._judge(part, part, lambda: _code_discriminator(config), weights)
        if code is not None:
            self._optional("D_code_opt", lambda: self._moments("D_code_opt", code, optimiser, part))

    def _judge(self, part: str, prefix: str, build: Callable[[], nn.Module], weights: FlatTensors) -> nn.Module | None:
        """Add the weights of one network that judges; the network, None where it begins anew."""
        if self._part(f"{part}.npy") is None:
            return None

        def read() -> nn.Module:
            net = build()
            self._add_judge(net, part, prefix, weights)
            return net

        found: nn.Module | None = self._optional(part, read)
        return found

    def _add_judge(self, net: nn.Module, part: str, prefix: str, weights: FlatTensors) -> None:
        file = self._index(self._required(f"{part}.npy"))
        shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        for name, shape in shapes.items():
            require_tensor(file, their_name(name)[1], shape_in_file(name, shape))
        for name, shape in shapes.items():
            ours = f"{prefix}.{name}"
            weights.add(ours, shape, part_reader(file, their_name(name)[1], ours, part))

    # -- optimisers

    def _main_optimiser(self, net: nn.Module) -> tuple[FlatTensors, str | None]:
        optimiser = FlatTensors()
        part = "256_opt" if self.is_xseg else "src_dst_opt"
        kind = self._optional(part, lambda: self._moments(part, net, optimiser, ""))
        return optimiser, kind

    def _moments(self, part: str, net: nn.Module, optimiser: FlatTensors, prefix: str) -> str | None:
        """Add the state of one optimiser; its kind. Raises IncompatibleModel when it is not this network's."""
        path = self._part(f"{part}.npy")
        if path is None:
            self.notes.append(f"{self.flat.prefix}{part}.npy is not there: that optimiser begins anew.")
            return None
        file = self._index(path)
        steps = file.entries.get(ITERATIONS, 0)
        if isinstance(steps, np.ndarray) and steps.size == 1:
            steps = steps.reshape(-1)[0]
        if not isinstance(steps, int | np.integer) or not 0 <= int(steps) < 2**62:
            raise IncompatibleModel(f"{file.path.name} does not say how many steps were made.", path=path)
        found = self._moments_by_name(file, prefix)
        shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
        kinds = {kind for kind, name in found if name in shapes}
        if not kinds:
            raise IncompatibleModel(f"{file.path.name} holds no state of this network's tensors.", path=path)
        missing = {name for name in self._trained(shapes) for kind in kinds if (kind, name) not in found}
        if missing:
            self.notes.append(
                f"{file.path.name} lacks the state of {len(missing)} of {len(shapes)} tensors "
                f"({min(missing)} first): it begins anew for them."
            )
        used = [(kind, name) for kind, name in found if name in shapes and name not in missing]
        for kind, name in used:
            require_tensor(file, found[kind, name], shape_in_file(name, shapes[name]))
        before = f"{prefix}/" if prefix else ""
        for kind, name in used:
            layout_name = f"{prefix}.{name}" if prefix else name
            reader = part_reader(file, found[kind, name], layout_name, part)
            optimiser.add(f"{before}{_OUR_MOMENTS[kind]}.{name}", shapes[name], reader)
        count = int(steps)
        optimiser.add(f"{before}iterations", (), lambda: torch.tensor(count), "I64")
        return "adabelief" if "ms" in kinds else "rmsprop"

    def _moments_by_name(self, file: FlatFile, prefix: str) -> dict[tuple[str, str], str]:
        """(kind, our name of the tensor) → key in the file. XSeg and the networks that judge are one network."""
        found = {}
        for key in file.entries:
            match = _MOMENT.fullmatch(str(key))
            if match:
                network = "" if prefix or self.is_xseg else match["network"]
                found[match["kind"], our_name(network, match["tensor"])] = key
        return found

    def _trained(self, names: Mapping[str, Any]) -> list[str]:
        """The tensors that the reference's optimiser covers: AMP's inters stay as they began."""
        if self.flat.model_class != "AMP":
            return list(names)
        return [name for name in names if their_name(name)[0] not in ("inter_src", "inter_dst")]

    # -- files

    def _optional(self, part: str, read: Callable[[], Any]) -> Any:
        """What `read` gives; None, with a note, when the part cannot be used."""
        if part in self.without:
            self.notes.append(f"{self.flat.prefix}{part}.npy cannot be used and begins anew: {self.without[part]}")
            return None
        try:
            return read()
        except UnderstudyError as error:
            self.notes.append(f"{self.flat.prefix}{part}.npy cannot be used and begins anew: {error.message}")
            return None

    def _part(self, what: str) -> Path | None:
        path = self.flat.part(what)
        if path is not None and path.name.endswith(UNFINISHED):
            note = (
                f"{path.name} is taken for {path.name.removesuffix(UNFINISHED)}, which a crash while saving took away."
            )
            if note not in self.notes:
                self.notes.append(note)
        return path

    def _required(self, what: str) -> Path:
        path = self._part(what)
        if path is None:
            raise MissingModel(
                f"A file of {self._what} is missing: {self.flat.prefix}{what}.",
                hint=self._or_backup(self._other_names(what) or "Copy all files of the model that share its name."),
                folder=self.flat.folder,
            )
        return path

    def _index(self, path: Path) -> FlatFile:
        try:
            file = open_file(path, self.files)
        except UnsafeFile as error:
            raise UnsafeFile(error.message, hint=self._or_backup(error.hint), path=path) from error
        self.used.append(path)
        return file

    def _weight_reader(self, file: FlatFile, key: str, name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            tensor = file.tensor(key, name)
            if not is_finite(tensor):
                raise IncompatibleModel(
                    f"{file.path.name}: {key} holds values that are no numbers; the model broke while it was trained.",
                    hint=self._or_backup("Nothing can be made of these weights."),
                    path=file.path,
                    tensor=key,
                )
            return tensor

        return read

    @property
    def _what(self) -> str:
        return f"the model {self.flat.name}" if self.flat.name else "the pretrained model"

    def _other_names(self, what: str) -> str:
        """A hint when the same part lies there under another name: a model that was renamed by half."""
        suffix = f"_{self.flat.model_class}_{what}"
        others = [path.name for path in self.flat.folder.glob(f"*{suffix}")] if self.flat.name else []
        return f"There is {', '.join(sorted(others)[:3])}: was the model renamed by half?" if others else ""

    def _or_backup(self, hint: str) -> str:
        backups = find_backups(self.flat) if self.flat.name else []
        return f"{hint} Its newest backup is in {backups[0].folder}, which can be imported too." if backups else hint

    def _unused(self) -> list[str]:
        """Names of the model's files and folders that nothing was read from."""
        used = {path.name for path in self.used}
        folders = [f"{self.flat.prefix}history"] if self.flat.name else []
        silent = {f"{self.flat.prefix}summary.txt", f"{XSEG}_default_options.dat"}  # a text; read with the options
        there = [path.name for path in self.flat.files if path.name not in used | silent]
        return [*there, *(name for name in folders if (self.flat.folder / name).is_dir())]


def _patch_discriminator(config: Any, training: Mapping[str, Any]) -> nn.Module:
    """On the meta device: the one that the options ask for."""
    patch = training.get("gan_patch_size", max(3, config.size // 8))
    with torch.device("meta"):
        return UnetPatchDiscriminator(patch, training.get("gan_dims", 16))


def _code_discriminator(config: Any) -> nn.Module:
    if not isinstance(config, SaehdConfig) or config.archi.is_liae:
        raise IncompatibleModel("Only df models have a network that judges codes.")
    with torch.device("meta"):
        return CodeDiscriminator(config.ae_dims, code_grid(config))


def _are_losses(entry: Any, width: int) -> bool:
    """Whether this is what one iteration leaves in `loss_history`."""
    is_row = isinstance(entry, list | tuple) and len(entry) == width
    return is_row and all(isinstance(value, float | int | np.floating) for value in entry)


def _fits_float32(values: NDArray[np.float64]) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values, values.astype(np.float32).astype(np.float64), equal_nan=True))
