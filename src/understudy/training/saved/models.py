"""The folder of one model and the record in it, `model.json`: what the model is and how it was last trained.

model/NAME/model.json          class, config (what cannot change), options last used, where it came from
           checkpoints/        saved states (training/saved/checkpoints.py)
           backups/            saved states that are kept longer
           history.jsonl       losses of every iteration
           loss_curve.png      the same as a picture
           previews/           newest preview pictures, and their history if asked for
"""

from __future__ import annotations

import contextlib
import glob
import os
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

BROUGHT_WEIGHTS = frozenset({"copied", "imported", "pretrained", "started"})
"""Events after which a model's first weights are not those that it was made with."""


@dataclass(frozen=True)
class ModelRecord:
    """What `model.json` says. `config`: the architecture's numbers. `options`: those last given to training.

    started_from: of a model that took its first weights from a trained one, which (`model`), at which `iteration`, what
    began anew (`fresh`: names of networks), and from where (`folder`) if not from this workspace. events: what befell
    the model besides training, oldest first: `at` (ISO time), `event` (a word), `text` (a sentence). held_out: for src
    and dst, the stretches of frames that are never trained on (training/faces/hold_out.py).
    """

    model_class: str
    config: dict[str, Any]
    options: dict[str, Any] = field(default_factory=dict)
    created: str = ""
    imported_from: str = ""
    started_from: dict[str, Any] = field(default_factory=dict)
    events: tuple[dict[str, Any], ...] = ()
    held_out: dict[str, Any] = field(default_factory=dict)

    @property
    def imported(self) -> bool:
        """Whether the weights began in another program."""
        return bool(self.imported_from)

    @property
    def began_empty(self) -> bool:
        """Whether its first weights were drawn at random: not brought from elsewhere, nor from its pretraining."""
        return not self.imported and not BROUGHT_WEIGHTS & {event["event"] for event in self.events}

    @property
    def pretraining(self) -> bool:
        """Whether the model learns many people's faces, to be started from later."""
        return bool(self.options.get("pretrain"))

    def with_options(self, options: Mapping[str, Any]) -> ModelRecord:
        return replace(self, options=dict(options))

    def started(self, origin: Mapping[str, Any]) -> ModelRecord:
        """The record of a model that took its first weights from another, as `started_from` says."""
        return replace(self, started_from=dict(origin))

    def with_event(self, event: str, text: str) -> ModelRecord:
        """The record with one more event, of now."""
        return replace(self, events=(*self.events, {"at": now(), "event": event, "text": text}))


@dataclass(frozen=True)
class ModelSummary:
    """One line of a list of models. ours False: files of other programs.

    archi, resolution, face_type: as far as they are known. pretraining: it learns many people's faces. problem: why
    nothing can be done with it, in a sentence; empty where it can be used. format: understudy, flat (the reference's
    files, imported by the first command that names them) or dfm.
    """

    name: str
    model_class: str
    iteration: int | None
    updated: datetime
    size_bytes: int
    ours: bool = True
    folder: Path = Path()
    archi: str = ""
    resolution: int | None = None
    face_type: str = ""
    pretraining: bool = False
    problem: str = ""
    format: str = "understudy"

    @property
    def supported(self) -> bool:
        """Whether it can be used."""
        return not self.problem

    def as_json(self) -> dict[str, Any]:
        """Plain values; `updated` in ISO form with the time zone, None for what is not known."""
        return {
            "name": self.name,
            "class": self.model_class,
            "archi": self.archi or None,
            "resolution": self.resolution,
            "face_type": self.face_type or None,
            "iteration": self.iteration,
            "updated": self.updated.isoformat(timespec="seconds"),
            "bytes": self.size_bytes,
            "format": self.format,
            "ours": self.ours,
            "supported": self.supported,
            "pretraining": self.pretraining,
            "problem": self.problem,
        }


def is_model(folder: Path) -> bool:
    """Whether the folder holds a model of ours. One that is still being written is none."""
    return not folder.name.startswith(TEMP_PREFIX) and (folder / FILE_NAME).is_file()


def new_record(model_class: str, config: Mapping[str, Any], *, imported_from: str = "") -> ModelRecord:
    """The record of a model that is made now."""
    return ModelRecord(model_class, dict(config), created=now(), imported_from=imported_from)


def now() -> str:
    """This moment as records write it: ISO, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


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
        "started_from": record.started_from,
        "events": list(record.events),
        "held_out": record.held_out,
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
    problem, record = "", ModelRecord("?", {})
    try:
        record = read_record(folder)
    except (IncompatibleModel, MissingModel) as error:
        problem = error.message
    size, updated = _size_and_time(folder)
    return ModelSummary(
        folder.name,
        record.model_class,
        newest_iteration(folder),
        datetime.fromtimestamp(updated, UTC),
        size,
        folder=folder,
        problem=problem,
        pretraining=record.pretraining,
        **described(record.config),
    )


def described(config: Mapping[str, Any]) -> dict[str, Any]:
    """archi, resolution and face_type of a config as `model.json` holds it, for a `ModelSummary`."""
    size = config.get("size")
    return {
        "archi": str(config.get("archi", "")),
        "resolution": size if isinstance(size, int) else None,
        "face_type": str(config.get("face_type", "")),
    }


def _size_and_time(folder: Path) -> tuple[int, float]:
    """Bytes of all files, and when `model.json` or the list of saved states changed last.

    What vanishes meanwhile, because somebody trains the model, is passed over.
    """
    size, updated = 0, 0.0
    counted: set[tuple[int, int]] = set()  # files with two names, as backups and the best state have, count once
    kept = (folder / FILE_NAME, folder / "checkpoints")
    for root, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                told = (Path(root) / name).lstat()
                if told.st_nlink == 1 or (told.st_dev, told.st_ino) not in counted:
                    size += told.st_size
                counted |= {(told.st_dev, told.st_ino)} if told.st_nlink > 1 else set()
    for path in (*kept, *(folder / "checkpoints").glob("*")):
        with contextlib.suppress(OSError):
            updated = max(updated, path.stat().st_mtime)
    return size, updated


def _record(body: Any, path: Path) -> ModelRecord:
    """The record in a parsed `model.json`; versions before ours are upgraded here when there are any."""
    ours = isinstance(body, dict) and body.get("schema") == SCHEMA
    if not ours or not isinstance(body.get("class"), str) or not isinstance(body.get("config"), dict):
        raise IncompatibleModel(
            "model.json is not a model's record of ours.", hint="Restore it from a copy.", path=path
        )
    version = body.get("version", 0)
    if not isinstance(version, int) or version > VERSION:
        raise IncompatibleModel(
            f"The model {path.parent.name} was written by a newer version of understudy.",
            hint="Update understudy.",
            path=path,
        )
    return ModelRecord(
        body["class"],
        body["config"],
        _table(body.get("options")),
        str(body.get("created") or ""),
        str(body.get("imported_from") or ""),
        _table(body.get("started_from")),
        tuple(event for event in _list(body.get("events")) if isinstance(event, dict)),
        _table(body.get("held_out")),
    )


def _table(value: Any) -> dict[str, Any]:
    """A table of a record; an empty one where something else stands."""
    return dict(value) if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    """A list of a record; an empty one where something else stands."""
    return list(value) if isinstance(value, list) else []
