"""The folder of one model and the record in it, `model.json`: what the model is and how it was last trained.

model/NAME/model.json          class, config (what cannot change), options last used, where it came from
           checkpoints/        saved states (training/checkpoints.py)
           backups/            saved states that are kept longer
           history.jsonl       losses of every iteration
           loss_curve.png      the same as a picture
           previews/           newest preview pictures, and their history if asked for
"""

from __future__ import annotations

import contextlib
import glob
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from understudy.errors import IncompatibleModel, MissingModel, UsageError
from understudy.files import TEMP_PREFIX, os_errors, parse_json, publishing_folder, write_json

SCHEMA = "understudy-model"
VERSION = 1
FILE_NAME = "model.json"


@dataclass(frozen=True)
class ModelRecord:
    """What `model.json` says. `config`: the architecture's numbers. `options`: those last given to training."""

    model_class: str
    config: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    imported_from: str = ""

    @property
    def imported(self) -> bool:
        """Whether the weights began in another program."""
        return bool(self.imported_from)

    def with_options(self, options: Mapping[str, Any]) -> ModelRecord:
        return replace(self, options=dict(options))


@dataclass(frozen=True)
class ModelSummary:
    """One line of a list of models. ours False: flat files, imported by the first command that names them."""

    name: str
    model_class: str
    iteration: int | None
    updated: datetime
    size_bytes: int
    ours: bool = True
    supported: bool = True
    folder: Path = Path()

    def as_json(self) -> dict[str, Any]:
        """Plain values; `updated` in ISO form with the time zone."""
        return {
            "name": self.name,
            "class": self.model_class,
            "iteration": self.iteration,
            "updated": self.updated.isoformat(timespec="seconds"),
            "bytes": self.size_bytes,
            "ours": self.ours,
            "supported": self.supported,
        }


def is_model(folder: Path) -> bool:
    """Whether the folder holds a model of ours. One that is still being written is none."""
    return not folder.name.startswith(TEMP_PREFIX) and (folder / FILE_NAME).is_file()


def new_record(model_class: str, config: Mapping[str, Any], *, imported_from: str = "") -> ModelRecord:
    """The record of a model that is made now."""
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return ModelRecord(model_class, dict(config), created=created, imported_from=imported_from)


@contextlib.contextmanager
def publishing_model(folder: Path, record: ModelRecord) -> Iterator[Path]:
    """Give a temporary folder for a new model's first files; it appears as `folder`, with its record, by one rename.

    For the model's writer only: what a killed writer left half done is swept away.
    Raises UsageError when something else is in that place.
    """
    with os_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        for left_over in folder.parent.glob(f"{TEMP_PREFIX}????????-{glob.escape(folder.name)}"):
            shutil.rmtree(left_over, ignore_errors=True)  # of a process that was killed here
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    if folder.exists():
        raise UsageError(
            f"{folder.name} cannot be the name of a new model: a folder of that name in model/ is no model.",
            hint="Choose another name, or move that folder away.",
            folder=folder,
        )
    with publishing_folder(folder) as temp:
        write_record(temp, record)
        yield temp


def write_record(folder: Path, record: ModelRecord) -> None:
    """Write `model.json` in one step."""
    body = {
        "schema": SCHEMA,
        "version": VERSION,
        "class": record.model_class,
        "config": record.config,
        "options": record.options,
        "created": record.created,
        "imported_from": record.imported_from,
    }
    write_json(folder / FILE_NAME, body)


def read_record(folder: Path) -> ModelRecord:
    """The record of a model. Raises MissingModel, and IncompatibleModel for a file that is none of ours."""
    path = folder / FILE_NAME
    try:
        body = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingModel(
            f"There is no model {folder.name}.", hint=f"Make it with: understudy train {folder.name}", folder=folder
        ) from None
    except (OSError, ValueError) as error:
        raise IncompatibleModel(
            f"The record of the model {folder.name} cannot be read: {error}",
            hint="Restore model.json from a copy; the saved states beside it are untouched.",
            path=path,
        ) from error
    return _record(body, path)


def list_models(models_folder: Path) -> list[ModelSummary]:
    """Our models in a workspace's `model/`, the one trained last first. Broken ones are listed as unsupported.

    Flat files of the reference are listed by `understudy.stages.models.list_models`.
    """
    if not models_folder.is_dir():
        return []
    found = [_summary(folder) for folder in models_folder.iterdir() if folder.is_dir() and is_model(folder)]
    return sorted(found, key=lambda model: model.updated, reverse=True)


def newest_iteration(folder: Path) -> int | None:
    """The iteration of the newest saved state of a model, not checked; None when nothing was saved."""
    names = [path.name for path in (folder / "checkpoints").glob("*") if path.name.isdigit()]
    names += [path.name for path in (folder / "backups").glob("*") if path.name.isdigit()]
    return max((int(name) for name in names), default=None)


def _summary(folder: Path) -> ModelSummary:
    try:
        model_class, supported = read_record(folder).model_class, True
    except (IncompatibleModel, MissingModel):
        model_class, supported = "?", False
    touched = [folder / FILE_NAME, *(folder / "checkpoints").glob("*")]
    updated = max(path.stat().st_mtime for path in touched if path.exists())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    when = datetime.fromtimestamp(updated, UTC)
    return ModelSummary(folder.name, model_class, newest_iteration(folder), when, size, True, supported, folder)


def _record(body: Any, path: Path) -> ModelRecord:
    """The record in a parsed `model.json`; versions before ours are upgraded here when there are any."""
    ours = isinstance(body, dict) and body.get("schema") == SCHEMA
    if not ours or not isinstance(body.get("class"), str) or not isinstance(body.get("config"), dict):
        raise IncompatibleModel(
            "model.json is not a model's record of ours.", hint="Restore it from a copy.", path=path
        )
    if int(body.get("version", 0)) > VERSION:
        raise IncompatibleModel(
            f"The model {path.parent.name} was written by a newer version of understudy.",
            hint="Update understudy.",
            path=path,
        )
    return ModelRecord(
        body["class"],
        body["config"],
        body.get("options") or {},
        body.get("created", ""),
        body.get("imported_from", ""),
    )
