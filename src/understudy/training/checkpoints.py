"""Saved states of a model: written whole or not at all, hashed, and kept in generations.

    checkpoints/000001000/weights.safetensors     the network, by module path
                          optimiser.safetensors   the optimiser's tensors, absent where training starts them afresh
                          state.json              iteration, sampler, random state, options, precision, history position
                          manifest.json           size and SHA-256 of the other files
    backups/000001000/                            the same layout, kept longer

A generation appears by one rename of its folder and never changes afterwards. Reading checks the hashes, and falls back
to the newest generation that is whole.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from understudy.errors import CorruptCheckpoint, DiskFull, MissingModel, TrainingDiverged
from understudy.files import TEMP_PREFIX, os_errors, parse_json, publishing_folder, write_json
from understudy.networks.tensor_files import TensorSource, Written, write_tensors
from understudy.report import Note, Report, silent

SCHEMA = "understudy-checkpoint"
VERSION = 1
WEIGHTS, OPTIMISER, STATE, MANIFEST = "weights.safetensors", "optimiser.safetensors", "state.json", "manifest.json"
BACKUPS_KEPT = 24
"""As many as the reference program keeps."""

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
    """One saved state. optimiser None: training starts fresh moments. `state` is what `save` was given."""

    iteration: int
    weights: dict[str, Tensor]
    optimiser: dict[str, Tensor] | None
    state: dict[str, Any]
    folder: Path


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
    def damaged(self) -> Path:
        """Where a writer puts generations that turned out not to be whole; nothing reads them again."""
        return self.model_folder / "damaged"

    def generations(self) -> list[Path]:
        """Folders of saved states, newest iteration first, a backup after its equal; none is checked."""
        found = [*_generations(self.folder), *_generations(self.backups)]
        return sorted(found, key=lambda path: int(path.name), reverse=True)

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
    ) -> Path:
        """Publish a generation and let the oldest beyond `keep` go. A generation of that iteration that exists stands.

        weights, optimiser: tensors by name, or a source that is asked for one after the other and looks after itself
        that they are finite. `state` may hold plain values, NumPy arrays and tensors, nested.
        Raises TrainingDiverged when a weight is no finite number (nothing is written then), DiskFull (after making room
        by dropping all but the newest generation, once), ReadOnlyWorkspace.
        """
        if not isinstance(weights, TensorSource):
            require_finite_weights(weights, iteration)
        target = self.folder / f"{iteration:09d}"
        if target.is_dir():
            return target
        with os_errors(target):
            self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._publish(target, iteration, weights, optimiser, state)
        except DiskFull:
            if not self._thin(keep=1):
                raise
            self._publish(target, iteration, weights, optimiser, state)
        self._thin(self.keep)
        return target

    def back_up(self, generation: Path) -> Path:
        """Keep a generation in `backups/` beyond the turn of the newest, as hard links where the disk has them."""
        target = self.backups / generation.name
        if not target.is_dir():
            with os_errors(target):
                self.backups.mkdir(parents=True, exist_ok=True)
            with publishing_folder(target) as temp:
                for item in generation.iterdir():
                    _link(item, temp / item.name)
        for old in _generations(self.backups)[self.backups_kept :]:
            _discard(old)
        return target

    def adopt_backup(
        self, iteration: int, *, weights: Tensors, optimiser: Tensors | None, state: Mapping[str, Any]
    ) -> Path:
        """Publish a generation from elsewhere straight into `backups/`, as `save` does. One that exists stands."""
        target = self.backups / f"{iteration:09d}"
        if not target.is_dir():
            with os_errors(target):
                self.backups.mkdir(parents=True, exist_ok=True)
            self._publish(target, iteration, weights, optimiser, state)
        return target

    def newest(self, report: Report = silent, *, device: str = "cpu", optimiser: bool = True) -> Checkpoint | None:
        """The newest state that is whole, each one passed over named in a warning; None when nothing was ever saved.

        `optimiser=False` leaves the optimiser's file unread and unchecked. Raises CorruptCheckpoint when states are
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
        """Move generations later than `iteration` out of the way: they are damaged, and training writes them anew.

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
        return moved

    def tidy(self) -> None:
        """Delete unfinished writes of processes that died. For the model's writer only."""
        for folder in (self.folder, self.backups):
            if folder.is_dir():
                for item in folder.glob(f"{TEMP_PREFIX}*"):
                    shutil.rmtree(item, ignore_errors=True)

    def _publish(
        self,
        target: Path,
        iteration: int,
        weights: Tensors,
        optimiser: Tensors | None,
        state: Mapping[str, Any],
    ) -> None:
        with publishing_folder(target) as temp:
            write_json(temp / STATE, to_plain(dict(state)))
            written = {STATE: Written((temp / STATE).stat().st_size, _sha256(temp / STATE))}
            written[WEIGHTS] = write_tensors(temp / WEIGHTS, weights)
            if optimiser is not None:
                written[OPTIMISER] = write_tensors(temp / OPTIMISER, optimiser)
            write_json(temp / MANIFEST, _manifest(written, iteration))

    def _thin(self, keep: int) -> int:
        """Delete all but the newest `keep` generations; how many went."""
        old = _generations(self.folder)[keep:]
        for generation in old:
            _discard(generation)
        return len(old)


def load_generation(folder: Path, *, device: str = "cpu", optimiser: bool = True) -> Checkpoint:
    """Read one generation and check it against its manifest. Raises CorruptCheckpoint naming the file at fault."""
    manifest = read_manifest(folder)
    wanted = [name for name in manifest["files"] if optimiser or name != OPTIMISER]
    for name in wanted:
        _check_file(folder / name, manifest["files"][name])
    try:
        weights = load_file(folder / WEIGHTS, device=device)
        moments = load_file(folder / OPTIMISER, device=device) if optimiser and OPTIMISER in wanted else None
        state = from_plain(parse_json((folder / STATE).read_text(encoding="utf-8")))
    except (SafetensorError, ValueError, OSError) as error:
        raise CorruptCheckpoint(f"The saved state {folder.name} cannot be read: {error}", folder=folder) from error
    return Checkpoint(int(manifest["iteration"]), weights, moments, state, folder)


def require_finite_weights(weights: Mapping[str, Tensor], iteration: int) -> None:
    """Raise TrainingDiverged naming the first tensor that holds a value that is no finite number."""
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor.detach().sum(dtype=torch.float64))):
            raise TrainingDiverged(
                f"The weights {name} are no longer finite at iteration {iteration}. They were not saved.",
                hint=DIVERGED_HINT,
                iteration=iteration,
            )


def to_plain(value: Any) -> Any:
    """Turn nested plain values, NumPy arrays and scalars and tensors into what JSON can hold, exactly."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()
        return {"array": value.dtype.str, "shape": list(value.shape), "base64": data}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    return value


def from_plain(value: Any) -> Any:
    """What `to_plain` was given, with tensors as NumPy arrays and tuples as lists."""
    if isinstance(value, dict):
        if value.keys() == {"array", "shape", "base64"}:
            flat = np.frombuffer(base64.b64decode(value["base64"]), dtype=np.dtype(value["array"]))
            return flat.reshape(value["shape"]).copy()
        return {key: from_plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_plain(item) for item in value]
    return value


def _generations(folder: Path) -> list[Path]:
    """Published generations of one folder, newest first. One without a manifest counts: it is damaged, not absent."""
    if not folder.is_dir():
        return []
    found = [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def _manifest(written: Mapping[str, Written], iteration: int) -> dict[str, Any]:
    files = {name: {"bytes": file.size_bytes, "sha256": file.sha256} for name, file in sorted(written.items())}
    return {"schema": SCHEMA, "version": VERSION, "iteration": iteration, "files": files}


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a generation's manifest says: `iteration`, and `files` with their `bytes` and `sha256`.

    Raises CorruptCheckpoint for one that cannot be read or is another generation's.
    """
    try:
        manifest = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
        known = manifest["schema"] == SCHEMA and {WEIGHTS, STATE} <= set(manifest["files"])
        iteration = int(manifest["iteration"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpoint(f"The saved state {folder.name} has no readable manifest.", folder=folder) from error
    if not known or iteration != int(folder.name):
        raise CorruptCheckpoint(f"The manifest of the saved state {folder.name} is not its own.", folder=folder)
    if manifest["version"] > VERSION:
        raise CorruptCheckpoint(
            f"The saved state {folder.name} was written by a newer version of understudy.",
            hint="Update understudy.",
            folder=folder,
        )
    return dict(manifest)


def _check_file(path: Path, expected: Mapping[str, Any]) -> None:
    try:
        whole = path.stat().st_size == expected["bytes"] and _sha256(path) == expected["sha256"]
    except OSError:
        whole = False
    if not whole:
        raise CorruptCheckpoint(
            f"The saved state {path.parent.name} is damaged: {path.name} is missing or not as it was written.",
            path=path,
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a disk without hard links
        shutil.copyfile(source, target)


def _discard(generation: Path) -> None:
    """Delete a generation, out of sight first, so that a crash on the way leaves no half one behind."""
    hidden = generation.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{generation.name}")
    with contextlib.suppress(OSError):  # somebody reads it (Windows): the next save tries again
        generation.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
