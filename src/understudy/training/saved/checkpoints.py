"""Saved states of a model: written whole or not at all, hashed, and kept in generations.

    checkpoints/000001000/weights.safetensors     the network, by module path
                          optimiser.safetensors   the optimiser's tensors, absent where training starts them afresh
                          ema.safetensors         a slow average of the network (`learning/ema.py`), where one is kept
                          state.json              iteration, sampler, random state, options, precision, history position
                          manifest.json           size and SHA-256 of the other files
    backups/000001000/                            the same layout, kept longer
    best/000001000/                               the same layout, of the one that did best on held-out faces

A generation appears by one rename of its folder and never changes afterwards. Reading checks the hashes, and falls back
to the newest generation that is whole.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from understudy.errors import CorruptCheckpoint, DiskFull, IncompatibleModel, MissingModel, TrainingDiverged
from understudy.files import TEMP_PREFIX, os_errors, parse_json, publishing_folder, write_json
from understudy.networks.tensor_files import TensorSource, Written, write_tensors
from understudy.records import WeightsChoice
from understudy.report import Note, Report, silent
from understudy.training.saved.manifests import (
    EMA,
    MANIFEST,
    OPTIMISER,
    STATE,
    WEIGHTS,
    check_file,
    manifest_of,
    read_manifest,
    sha256_of,
)
from understudy.training.saved.plain_values import from_plain, to_plain

BACKUPS_KEPT = 24
"""As many as the reference program keeps."""
SET_ASIDE_KEPT = 3
"""States in `damaged/`: for a person to look at, and gone before any good one when the disk is full."""

DIVERGED_HINT = (
    "Run the same command again: it continues from the last saved state. If it happens again, train with "
    "--precision fp32, then with --clipgrad (saehd, amp)."
)
"""What to do when a number is no longer finite."""

Tensors: TypeAlias = Mapping[str, Tensor] | TensorSource
"""Tensors by name, or what gives them one after the other."""

Read = TypeVar("Read")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One saved state. optimiser None: training starts fresh moments. ema None: no average was kept. `state` is what
    `save` was given."""

    iteration: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor] | None
    state: dict[str, Any]
    folder: Path
    ema: dict[str, Tensor] | None = None


@dataclass(frozen=True)
class CheckpointStore:
    """The generations of one model, in `model_folder`. `keep`: how many of the newest stay when a new one is saved."""

    model_folder: Path
    keep: int = 3
    backups_kept: int = field(default=BACKUPS_KEPT)

    @property
    def folder(self) -> Path:
        return self.model_folder / "checkpoints"

    @property
    def backups(self) -> Path:
        return self.model_folder / "backups"

    @property
    def best(self) -> Path:
        """Where the state is kept that did best on held-out faces (training/saved/best.py)."""
        return self.model_folder / "best"

    @property
    def damaged(self) -> Path:
        """Where a writer puts generations that it goes back from: damaged ones, or of a training that went wrong.
        Nothing reads them again."""
        return self.model_folder / "damaged"

    def generations(self) -> list[Path]:
        """Folders of saved states, newest iteration first, backup and best after their equal; none is checked.

        Backups and a best state that are newer than what is in `checkpoints/` come last: training went back beyond
        them, or somebody moved what came after away.
        """
        found = [path for folder in (self.folder, self.backups, self.best) for path in _generations(folder)]
        newest = max((int(path.name) for path in _generations(self.folder)), default=None)

        def place(path: Path) -> tuple[bool, int]:
            return newest is None or int(path.name) <= newest, int(path.name)

        return sorted(found, key=place, reverse=True)

    def newest_iteration(self) -> int | None:
        """The iteration of the newest saved state, not checked; None when nothing was saved."""
        found = self.generations()
        return int(found[0].name) if found else None

    def save(
        self,
        iteration: int,
        *,
        weights: Tensors,
        optimiser: Tensors | None,
        state: Mapping[str, Any],
        ema: Tensors | None = None,
    ) -> Path:
        """Publish a generation and let the oldest beyond `keep` go. A generation of that iteration that exists stands.

        weights, optimiser, ema: tensors by name, or a source that is asked for one after the other and looks after
        itself that they are finite. `state` may hold plain values, NumPy arrays and tensors, nested.
        Raises TrainingDiverged when a weight is no finite number (nothing is written then), DiskFull (after making room
        by dropping what was set aside and all but the newest generation, once), ReadOnlyWorkspace.
        """
        if not isinstance(weights, TensorSource):
            require_finite_weights(weights, iteration)
        target = self.folder / f"{iteration:09d}"
        if target.is_dir():
            return target
        with os_errors(target):
            self.folder.mkdir(parents=True, exist_ok=True)
        files = {WEIGHTS: weights, OPTIMISER: optimiser, EMA: ema}
        try:
            self._publish(target, iteration, files, state)
        except DiskFull:
            if not self._make_room():
                raise
            self._publish(target, iteration, files, state)
        self._thin(self.keep)
        return target

    def back_up(self, generation: Path, *, beside: Callable[[Path], None] = lambda folder: None) -> Path:
        """Keep a generation in `backups/` beyond the turn of the newest, as hard links where the disk has them.

        beside: writes more into the folder before anybody sees it.
        """
        target = self.backups / generation.name
        if not target.is_dir():
            with os_errors(target):
                self.backups.mkdir(parents=True, exist_ok=True)
            with publishing_folder(target) as temp:
                for item in generation.iterdir():
                    link_or_copy(item, temp / item.name)
                beside(temp)
        for old in _generations(self.backups)[self.backups_kept :]:
            discard_generation(old)
        return target

    def adopt_backup(
        self, iteration: int, *, weights: Tensors, optimiser: Tensors | None, state: Mapping[str, Any]
    ) -> Path:
        """Publish a generation from elsewhere straight into `backups/`, as `save` does. One that exists stands."""
        target = self.backups / f"{iteration:09d}"
        if not target.is_dir():
            with os_errors(target):
                self.backups.mkdir(parents=True, exist_ok=True)
            self._publish(target, iteration, {WEIGHTS: weights, OPTIMISER: optimiser}, state)
        return target

    def newest(self, report: Report = silent, *, device: str = "cpu", optimiser: bool = True) -> Checkpoint | None:
        """The newest state that is whole, each one passed over named in a warning; None when nothing was ever saved.

        `optimiser=False` leaves what only training needs unread and unchecked. Raises CorruptCheckpoint when states are
        there and none is whole.
        """
        return self.first_whole(lambda folder: load_generation(folder, device=device, optimiser=optimiser), report)

    def first_whole(self, read: Callable[[Path], Read], report: Report = silent) -> Read | None:
        """What `read` makes of the newest state of which it does not raise CorruptCheckpoint; else as `newest`."""
        found = self.generations()
        for generation in found:
            try:
                return read(generation)
            except CorruptCheckpoint as error:
                if not generation.is_dir():  # a training that goes on meanwhile let it go: look again
                    return self.first_whole(read, report)
                report(Note(f"{error.message} The newest whole one before it is used.", "warning", generation.name))
        if found:
            raise CorruptCheckpoint(
                f"None of the {len(found)} saved states of this model is whole.",
                hint="Restore the folder from a copy, or start again: understudy train with another name.",
                folder=self.model_folder,
            )
        return None

    def never_saved(self) -> MissingModel:
        """The error for whoever needs a saved state and `newest` gave none."""
        name = self.model_folder.name
        return MissingModel(
            f"The model {name} has not been trained yet.",
            hint=f"Train it with: understudy train {name}",
            folder=self.model_folder,
        )

    def set_aside_after(self, iteration: int) -> list[Path]:
        """Move generations later than `iteration` out of the way, since training writes them anew; of all that ever
        were, the newest few stay.

        For the model's writer only.
        """
        moved = []
        for generation in _generations(self.folder):
            if int(generation.name) > iteration:
                target = self.damaged / f"{generation.name}-{uuid.uuid4().hex[:6]}"
                with os_errors(target):
                    self.damaged.mkdir(exist_ok=True)
                    generation.rename(target)
                moved.append(target)
        self._forget_set_aside(SET_ASIDE_KEPT)
        return moved

    def go_back_to(self, generation: Path) -> None:
        """Make a generation, which may be a backup or the best, the newest in `checkpoints/`; later ones are set aside.

        For the model's writer only.
        """
        self.set_aside_after(int(generation.name))
        target = self.folder / generation.name
        if not target.is_dir():
            with os_errors(target):
                self.folder.mkdir(parents=True, exist_ok=True)
            with publishing_folder(target) as temp:
                for name in (*read_manifest(generation)["files"], MANIFEST):
                    link_or_copy(generation / name, temp / name)

    def tidy(self) -> None:
        """Delete unfinished writes of processes that died, anywhere in the folder. For the model's writer only."""
        for item in list(self.model_folder.rglob(f"{TEMP_PREFIX}*")):
            if item.is_dir():
                shutil.rmtree(item, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    item.unlink(missing_ok=True)

    def _publish(
        self, target: Path, iteration: int, files: Mapping[str, Tensors | None], state: Mapping[str, Any]
    ) -> None:
        with publishing_folder(target) as temp:
            write_json(temp / STATE, to_plain(dict(state)))
            written = {STATE: Written((temp / STATE).stat().st_size, sha256_of(temp / STATE))}
            written |= {name: write_tensors(temp / name, part) for name, part in files.items() if part is not None}
            write_json(temp / MANIFEST, manifest_of(written, iteration))

    def _make_room(self) -> bool:
        """Delete what a full disk can do without; whether there was any."""
        return bool(self._forget_set_aside(0) + self._thin(keep=1))

    def _forget_set_aside(self, keep: int) -> int:
        """Delete all but the newest `keep` generations that were set aside; how many went."""
        found = list(self.damaged.iterdir()) if self.damaged.is_dir() else []
        old = sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)[keep:]
        for folder in old:
            shutil.rmtree(folder, ignore_errors=True)
        return len(old)

    def _thin(self, keep: int) -> int:
        """Delete all but the newest `keep` generations; how many went."""
        old = _generations(self.folder)[keep:]
        for generation in old:
            discard_generation(generation)
        return len(old)


def load_generation(folder: Path, *, device: str = "cpu", optimiser: bool = True) -> Checkpoint:
    """Read one generation and check it against its manifest. Raises CorruptCheckpoint naming the file at fault.

    `optimiser=False` leaves what only training needs, moments and average, unread and unchecked.
    """
    return _load(folder, (WEIGHTS, OPTIMISER, EMA) if optimiser else (WEIGHTS,), device)


def load_for_use(folder: Path, choice: WeightsChoice = WeightsChoice.AUTO) -> Checkpoint:
    """One generation with the weights to draw with in the place of its own: the average where there is one, unless the
    trained ones are asked for. Nothing else of it is read.

    Raises CorruptCheckpoint as `load_generation`, IncompatibleModel when there is no average and one is asked for.
    """
    if not takes_average(folder, choice):
        return _load(folder, (WEIGHTS,), "cpu")
    found = _load(folder, (EMA,), "cpu")
    assert found.ema is not None
    return replace(found, weights=found.ema)


def takes_average(folder: Path, choice: WeightsChoice) -> bool:
    """Whether a choice means the average of a generation. Raises IncompatibleModel when it has none and must."""
    averaged = EMA in read_manifest(folder)["files"]
    if choice is WeightsChoice.EMA and not averaged:
        raise IncompatibleModel(
            f"The saved state {folder.name} has no average of the weights.",
            hint="Train with --ema-decay 0.999 to have one, or leave --weights out.",
        )
    return averaged and choice is not WeightsChoice.TRAINED


def _load(folder: Path, files: Sequence[str], device: str) -> Checkpoint:
    """Read those of a generation's files that there are."""
    manifest = read_manifest(folder)
    wanted = [name for name in manifest["files"] if name in (*files, STATE)]
    for name in wanted:
        check_file(folder / name, manifest["files"][name])
    try:
        parts = {name: load_file(folder / name, device=device) for name in wanted if name != STATE}
        state = from_plain(parse_json((folder / STATE).read_text(encoding="utf-8")))
    except (SafetensorError, ValueError, OSError) as error:
        raise CorruptCheckpoint(f"The saved state {folder.name} cannot be read: {error}", folder=folder) from error
    return Checkpoint(
        int(manifest["iteration"]), parts.get(WEIGHTS, {}), parts.get(OPTIMISER), state, folder, parts.get(EMA)
    )


def require_finite_weights(weights: Mapping[str, Tensor], iteration: int) -> None:
    """Raise TrainingDiverged naming the first tensor that holds a value that is no finite number."""
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor.detach().sum(dtype=torch.float64))):
            raise TrainingDiverged(
                f"The weights {name} are no longer finite at iteration {iteration}. They were not saved.",
                hint=DIVERGED_HINT,
                iteration=iteration,
            )


def _generations(folder: Path) -> list[Path]:
    """Published generations of one folder, newest first. One without a manifest counts: it is damaged, not absent."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def link_or_copy(source: Path, target: Path) -> None:
    """Give a file that never changes a second name, or where a disk has no hard links a copy."""
    try:
        os.link(source, target)
    except OSError:  # a disk without hard links
        shutil.copyfile(source, target)


def discard_generation(generation: Path) -> None:
    """Delete a generation, out of sight first, so that a crash on the way leaves no half one behind."""
    hidden = generation.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{generation.name}")
    with contextlib.suppress(OSError):  # somebody reads it (Windows): the next save tries again
        generation.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
