"""Flat models of the reference, opened: everything that their files say, in our terms, tensors left in the files.

    NAME_CLASS_data.dat                 iteration, options, losses, preview sample: read at once (flat_data.py)
    NAME_CLASS_{encoder,inter,…}.npy    networks; XSeg_256.npy         ─┐ tensors, each read and turned into ours when
    NAME_CLASS_{GAN,code_discriminator}.npy   discriminators            ├ it is asked for: a model needs no more memory
    NAME_CLASS_{src_dst,GAN,D_code}_opt.npy, XSeg_256_opt.npy          ─┘ than its largest tensor (flat_moments.py)

What a swap needs must be there and fit, to the tensor; what only training needs may be missing or damaged, begins anew
then, and is named in `notes` (spec: weights, 5). Folders of pretrained files hold the same without the prefix.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from understudy.errors import IncompatibleModel, InvalidOption, MissingModel, UnderstudyError, UnsafeFile
from understudy.interop import reference_options
from understudy.interop.flat import FlatModel, or_backup
from understudy.interop.flat_data import FlatData, read_data
from understudy.interop.flat_files import FlatFile, FlatTensors, is_finite, open_file, part_reader, require_tensor
from understudy.interop.flat_moments import add_moments
from understudy.interop.flat_names import (
    DATA,
    DEFAULT_OPTIONS,
    SUMMARY,
    UNFINISHED,
    WHOLE,
    XSEG,
    optimiser_part,
    part_of,
)
from understudy.interop.layout import shape_in_file, their_name
from understudy.interop.reference_record import ReferenceRecord
from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.families import config_from_plain, config_to_plain, family_for
from understudy.networks.patch_discriminator import UnetPatchDiscriminator
from understudy.networks.saehd import SaehdConfig, code_grid
from understudy.records import CODE_DISCRIMINATOR, GAN


@dataclass(eq=False)
class OpenedModel:
    """A flat model in our terms; its tensors can be read until its files are closed.

    net: the network without any weights, on torch's device meta. config, options: plain, as `model.json` holds them.
    weights: of the network, and behind `gan.` and `code_discriminator.` of its discriminators. optimiser: its state in
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

    def opened(self) -> OpenedModel:
        data = read_data(self.flat, self._data_file(), self.files)
        ours = reference_options.to_ours(self.flat.model_class, data.options, data.default_options)
        self.notes += [*data.notes, *ours.notes]
        if ours.training.get("pretrain"):
            self.notes.append("The model is in pretraining (option pretrain).")
        config, net = self._network(ours.config)
        weights, optimiser = self._weights(net), FlatTensors()
        kind = self._optional(optimiser_part(self.flat.model_class), self._moments, net, optimiser, WHOLE)
        self._discriminators(config, ours.training, weights, optimiser)
        return OpenedModel(
            self.flat,
            net,
            config_to_plain(config),
            ours.training,
            data.iteration,
            data.losses,
            self._record(data),
            weights,
            optimiser if optimiser.kinds else None,
            kind if optimiser.kinds else None,
            self.notes,
            self._unused(),
        )

    def _data_file(self) -> FlatFile | None:
        path = self._part(DATA)
        if path is not None:
            return self._index(path)
        if self.flat.model_class == XSEG:
            self.notes.append("There is no XSeg_data.dat: whole faces are assumed, and the iteration is not known.")
        elif self.flat.name:
            raise MissingModel(
                f"A file of the model is missing: {self.flat.prefix}{DATA}.",
                hint="Without it the architecture is not known.",
                folder=self.flat.folder,
            )
        return None

    def _record(self, data: FlatData) -> ReferenceRecord:
        return ReferenceRecord(
            self.flat.model_class,
            self.flat.name,
            data.iteration,
            data.options,
            data.default_options,
            data.losses_beyond_float32,
            data.sample_for_preview,
            data.extra,
            {path.name: path.stat().st_size for path in self.used},
        )

    # -- networks

    def _network(self, stored: Mapping[str, Any]) -> tuple[Any, nn.Module]:
        """Config and bare network of the class with these numbers."""
        family = family_for(self.flat.model_class)
        try:
            config = config_from_plain(family, {**config_to_plain(family.config()), **stored})
            return config, family.bare(config)
        except (InvalidOption, IncompatibleModel) as error:
            why = error.__cause__ if isinstance(error.__cause__, InvalidOption) else error  # it has no model.json yet
            raise IncompatibleModel(
                f"No network can be built from the options of {self.flat.in_words}: {why.message}",
                hint=or_backup("Its data.dat is damaged, or of a program that is not known.", self.flat),
                path=self.flat.folder,
            ) from error

    def _weights(self, net: nn.Module) -> FlatTensors:
        """The network's own tensors, each of which must be there."""
        weights = FlatTensors()
        files: dict[str, FlatFile] = {}
        for name, shape in _shapes(net).items():
            network, key = their_name(name)
            if network not in files:
                files[network] = self._index(self._required(f"{part_of(network)}.npy"))
            require_tensor(files[network], key, shape_in_file(name, shape))
            weights.add(name, shape, self._weight_reader(files[network], key, name))
        for network, file in files.items():
            surplus = len(file.entries) - sum(their_name(name)[0] == network for name in weights.kinds)
            if surplus and network != WHOLE:
                self.notes.append(f"{file.path.name} holds {surplus} tensors more than this network has.")
        return weights

    def _discriminators(
        self, config: Any, training: Mapping[str, Any], weights: FlatTensors, optimiser: FlatTensors
    ) -> None:
        """The discriminators and their optimisers, where their files are there and fit."""
        made: dict[str, Callable[[], nn.Module]] = {
            GAN: lambda: _patch_discriminator(config, training),
            CODE_DISCRIMINATOR: lambda: _code_discriminator(config),
        }
        for name, build in made.items():
            if self._part(f"{part_of(name)}.npy") is None:
                continue
            net = self._optional(part_of(name), self._discriminator, build, weights, name)
            if net is not None:
                self._optional(optimiser_part(self.flat.model_class, name), self._moments, net, optimiser, name)

    def _discriminator(self, part: str, build: Callable[[], nn.Module], weights: FlatTensors, name: str) -> nn.Module:
        """Add the weights of one discriminator; the network, bare."""
        net = build()
        file = self._index(self._required(f"{part}.npy"))
        shapes = _shapes(net)
        for tensor, shape in shapes.items():
            require_tensor(file, their_name(tensor)[1], shape_in_file(tensor, shape))
        for tensor, shape in shapes.items():
            ours = f"{name}.{tensor}"
            weights.add(ours, shape, part_reader(file, their_name(tensor)[1], ours, part))
        return net

    def _moments(self, part: str, net: nn.Module, optimiser: FlatTensors, discriminator: str) -> str | None:
        """Add the state of one optimiser; its kind. Raises IncompatibleModel when it is not this network's."""
        path = self._part(f"{part}.npy")
        if path is None:
            self.notes.append(f"{self.flat.prefix}{part}.npy is not there: that optimiser begins anew.")
            return None
        kind, notes = add_moments(
            optimiser, self._index(path), part, _shapes(net), self.flat.model_class, discriminator=discriminator
        )
        self.notes += notes
        return kind

    # -- files

    def _optional(self, part: str, read: Callable[..., Any], *given: Any) -> Any:
        """What `read` makes of a part, by its name and what is given; None, with a note, when it cannot be used."""
        why = self.without.get(part)
        if why is None:
            try:
                return read(part, *given)
            except UnderstudyError as error:
                why = error.message
        self.notes.append(f"{self.flat.prefix}{part}.npy cannot be used and begins anew: {why}")
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
                f"A file of {self.flat.in_words} is missing: {self.flat.prefix}{what}.",
                hint=or_backup(
                    self._other_names(what) or "Copy all files of the model that share its name.", self.flat
                ),
                folder=self.flat.folder,
            )
        return path

    def _index(self, path: Path) -> FlatFile:
        try:
            file = open_file(path, self.files)
        except UnsafeFile as error:
            raise UnsafeFile(error.message, hint=or_backup(error.hint, self.flat), path=path) from error
        self.used.append(path)
        return file

    def _weight_reader(self, file: FlatFile, key: str, name: str) -> Callable[[], Tensor]:
        def read() -> Tensor:
            tensor = file.tensor(key, name)
            if not is_finite(tensor):
                raise IncompatibleModel(
                    f"{file.path.name}: {key} holds values that are no numbers; the model broke while it was trained.",
                    hint=or_backup("Nothing can be made of these weights.", self.flat),
                    path=file.path,
                    tensor=key,
                )
            return tensor

        return read

    def _other_names(self, what: str) -> str:
        """A hint when the part is there but no file, or lies there under another name: a model renamed by half."""
        own = f"{self.flat.prefix}{what}"
        if os.path.lexists(self.flat.folder / own):
            return "Something of that name is there, but it is no file: a folder, or a link that leads nowhere."
        suffix = f"_{self.flat.model_class}_{what}"
        others = [path.name for path in self.flat.folder.glob(f"*{suffix}")] if self.flat.name else []
        return f"There is {', '.join(sorted(others)[:3])}: was the model renamed by half?" if others else ""

    def _unused(self) -> list[str]:
        """Names of the model's files and folders that nothing was read from."""
        used = {path.name for path in self.used}
        folders = [f"{self.flat.prefix}history"] if self.flat.name else []
        silent = {f"{self.flat.prefix}{SUMMARY}", f"{XSEG}_{DEFAULT_OPTIONS}"}  # a text; read with the options
        there = [path.name for path in self.flat.files if path.name not in used | silent]
        return [*there, *(name for name in folders if (self.flat.folder / name).is_dir())]


def _patch_discriminator(config: Any, training: Mapping[str, Any]) -> nn.Module:
    """On the meta device: the one that the options ask for."""
    patch = training.get("gan_patch_size", max(3, config.size // 8))
    with torch.device("meta"):
        return UnetPatchDiscriminator(patch, training.get("gan_dims", 16))


def _code_discriminator(config: Any) -> nn.Module:
    if not isinstance(config, SaehdConfig) or config.archi.is_liae:
        raise IncompatibleModel("Only df models have a code discriminator.")
    with torch.device("meta"):
        return CodeDiscriminator(config.ae_dims, code_grid(config))


def _shapes(net: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}
