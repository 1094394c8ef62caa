"""Rename and delete models, and bring back what was deleted.

A model of ours is one folder, so that renaming and deleting are one rename on the disk. Flat files are many: they move
as one journaled change, and only those of exactly that model and class.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path

from understudy.errors import MissingModel, UnderstudyError, UsageError
from understudy.facesets.changes import Move, apply, recover
from understudy.files import TEMP_PREFIX, os_errors, publishing_folder, require_writable, sync_folder
from understudy.interop.flat import FlatModel, find_flat_models, is_export
from understudy.interop.flat_names import DEFAULT_OPTIONS, prefix_of
from understudy.stages.models import (
    RESERVED_NAMES,
    dfm_path,
    find_model,
    flat_journals,
    flat_of,
    list_models,
)
from understudy.stages.result import StageResult
from understudy.training.saved.models import ModelSummary, is_model, read_record, write_record
from understudy.workspace import Workspace


def rename_model(workspace: Workspace, old: str, new: str, *, model_class: str = "") -> StageResult:
    """Give a model another name, in one step. model_class: which of two flat models that share the name.

    The notes hold model, class, renamed_from, files (how many, of flat ones). Raises MissingModel, UsageError for a
    name that is taken, reserved or none, Busy while the model is in training, ReadOnlyWorkspace.
    """
    started = time.perf_counter()
    require_free(workspace, new, besides=old)
    if {old, new} & RESERVED_NAMES:
        raise UsageError(
            "XSeg is the name of the mask network, which only that one has.",
            hint="Copy it under another name instead: understudy model copy XSeg NAME",
        )
    with writing_models(workspace, old, new):
        found = find_model(workspace, old, model_class)
        require_free(workspace, new, besides=found.name)
        if found.format == "understudy":
            moved = [_rename_ours(workspace, found, new)]
        else:
            moved = _move_foreign(workspace, _renamed(found, new, workspace), f"Renamed {found.name} to {new}")
    notes = {"model": new, "class": found.model_class, "renamed_from": found.name, "files": len(moved)}
    return StageResult(
        outputs=[moved[0].parent if found.format == "flat" else moved[0]],
        seconds=time.perf_counter() - started,
        notes=notes | _still_flat(workspace, found),
    )


def delete_model(workspace: Workspace, name: str, *, model_class: str = "") -> StageResult:
    """Move a model to the workspace's trash; `restore_model` brings it back. model_class: as in `rename_model`.

    The notes hold model, class, trash (its folder there) and undo (the command). Raises MissingModel, UsageError, Busy
    while the model is in training, ReadOnlyWorkspace.
    """
    started = time.perf_counter()
    with writing_models(workspace, name):
        found = find_model(workspace, name, model_class)
        trash = workspace.new_trash(f"model-{found.name}")
        if found.format == "understudy":
            require_writable(workspace.models)
            with os_errors(trash):
                trash.mkdir(parents=True)
                _move_folder(found.folder, trash / found.name)
        else:
            _move_foreign(workspace, _trashed(found, trash), f"Deleted {found.name}")
    undo = shlex.join(["understudy", "model", "delete", found.name, "--undo"])
    notes = {"model": found.name, "class": found.model_class, "trash": str(trash), "undo": undo}
    return StageResult(
        outputs=[trash], seconds=time.perf_counter() - started, notes=notes | _still_flat(workspace, found)
    )


def restore_model(workspace: Workspace, name: str) -> StageResult:
    """Bring back the model of that name that was deleted last.

    The notes hold model, class and format. Raises UsageError when there is none, or something new in its place; Busy,
    ReadOnlyWorkspace.
    """
    started = time.perf_counter()
    with writing_models(workspace, name):
        trash = _newest_trash(workspace, name)
        ours = trash / name
        if is_model(ours):
            _require_free_folder(workspace, name)
            with os_errors(workspace.models):
                workspace.models.mkdir(parents=True, exist_ok=True)
                _move_folder(ours, workspace.model(name))
        else:
            files = [path for path in trash.rglob("*") if not path.is_dir()]
            moves = [Move(path, workspace.models / path.relative_to(trash)) for path in files]
            _require_absent(move.new for move in moves)
            _move_foreign(workspace, moves, f"Brought back {name}")
        _remove_empty(trash)
    found = find_model(workspace, name)
    return StageResult(
        outputs=[found.folder],
        seconds=time.perf_counter() - started,
        notes={"model": name, "class": found.model_class, "format": found.format},
    )


# -- names and locks


@contextlib.contextmanager
def writing_models(workspace: Workspace, *names: str) -> Iterator[None]:
    """Hold the locks of these models, and finish what a killed process left of flat files."""
    with contextlib.ExitStack() as locks:
        for name in sorted(set(names)):
            workspace.model(name)
            locks.enter_context(workspace.writing(f"model-{name}"))
        locks.enter_context(workspace.writing("models"))
        _recover(workspace)
        yield


def _recover(workspace: Workspace) -> None:
    if flat_journals(workspace).is_dir():
        for change in recover(flat_journals(workspace)):
            _remove_emptied(workspace, (move.old for move in change.moves))


def require_free(workspace: Workspace, name: str, *, besides: str = "") -> None:
    """Raise UsageError where a model or anything else has that name; letter case counts for nothing on some disks."""
    folder = workspace.model(name)
    if name == besides:
        raise UsageError(f"The model is called {name} already.", hint="Choose another name.")
    taken = {model.name.casefold() for model in list_models(workspace) if model.name != besides}
    there = {path.name.casefold() for path in workspace.models.iterdir()} if workspace.models.is_dir() else set()
    is_same = name.casefold() == besides.casefold()  # another spelling of one name
    if name.casefold() in taken or (not is_same and (name.casefold() in there or folder.exists())):
        raise UsageError(
            f"There is a model or a folder called {name} already; nothing is overwritten.",
            hint="Choose another name, or delete that one first: "
            + shlex.join(["understudy", "model", "delete", name]),
            name=name,
        )


def _require_free_folder(workspace: Workspace, name: str) -> None:
    """Raise UsageError where there is a folder of that name; flat files beside it are no hindrance."""
    _require_absent([workspace.model(name)])


def _require_absent(paths: Iterable[Path]) -> None:
    taken = [path.name for path in paths if os.path.lexists(path)]
    if taken:
        raise UsageError(
            f"Something new stands where the model would come back: {', '.join(taken[:3])}.",
            hint="Rename or delete what is there first.",
        )


def _still_flat(workspace: Workspace, found: ModelSummary) -> dict[str, str]:
    """A note where flat files of the same name lie beside, which are a model of their own again from now on."""
    if found.format != "understudy":
        return {}
    flat = [flat for flat in find_flat_models(workspace.models) if flat.name == found.name]
    if not flat:
        return {}
    files = ", ".join(f"{model.prefix}*" for model in flat)
    return {"note": f"The files {files} of DeepFaceLab are still there, and are listed as {found.name} again."}


# -- ours


def _rename_ours(workspace: Workspace, found: ModelSummary, new: str) -> Path:
    target = workspace.model(new)
    with os_errors(found.folder):
        found.folder.rename(target)
        sync_folder(target.parent)
    with contextlib.suppress(UnderstudyError):  # a record that cannot be read or written hinders no renaming
        record = read_record(target)
        write_record(target, record.with_event("renamed", f"Renamed from {found.name}."))
    return target


def _move_folder(old: Path, new: Path) -> None:
    """Rename a folder; where the trash lies on another disk, copy it whole first."""
    try:
        old.rename(new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with publishing_folder(new) as temp:
            shutil.copytree(old, temp, dirs_exist_ok=True)
        hidden = old.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{old.name}")
        old.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)
    sync_folder(new.parent)
    sync_folder(old.parent)


# -- flat files and dfm files


def flat_files(flat: FlatModel) -> list[Path]:
    """Every file that belongs to exactly this flat model, those in its folders of backups and history included.

    Where one model's prefix begins with another's, as `a_AMP_` and `a_AMP_b_AMP_`, the longer one has its files.
    """
    prefixes = [other.prefix for other in find_flat_models(flat.folder)]
    owned = []
    for path in sorted(flat.folder.iterdir()):
        fitting = [prefix for prefix in prefixes if path.name.startswith(prefix)]
        if not fitting or max(fitting, key=len) != flat.prefix or path.name.endswith(DEFAULT_OPTIONS):
            continue
        if is_export(path.name):
            continue
        inside = (item for item in sorted(path.rglob("*")) if not item.is_dir()) if path.is_dir() else [path]
        owned += list(inside)
    return owned


def _renamed(found: ModelSummary, new: str, workspace: Workspace) -> list[Move]:
    if found.format == "dfm":
        path = dfm_path(found)
        return [Move(path, path.with_name(f"{new}{path.suffix}"))]
    flat = flat_of(found)
    prefix = prefix_of(new, flat.model_class)
    return [Move(path, _with_prefix(path, flat, prefix)) for path in flat_files(flat)]


def _with_prefix(path: Path, flat: FlatModel, prefix: str) -> Path:
    """The path with every part that begins with the model's prefix beginning with another."""
    parts = path.relative_to(flat.folder).parts
    named = [prefix + part.removeprefix(flat.prefix) if part.startswith(flat.prefix) else part for part in parts]
    return flat.folder.joinpath(*named)


def _trashed(found: ModelSummary, trash: Path) -> list[Move]:
    paths = [dfm_path(found)] if found.format == "dfm" else flat_files(flat_of(found))
    return [Move(path, trash / path.relative_to(found.folder)) for path in paths]


def _move_foreign(workspace: Workspace, moves: list[Move], title: str) -> list[Path]:
    """Move files as one change that a crash cannot leave half done; where they are now."""
    if not moves:
        raise MissingModel("The model's files are no longer there.", folder=workspace.models)
    with os_errors(workspace.models):
        workspace.models.mkdir(parents=True, exist_ok=True)
    require_writable(workspace.models)
    change = apply(moves, title=title, journal_folder=flat_journals(workspace))
    _remove_emptied(workspace, (move.old for move in change.moves))
    return [move.new for move in change.moves]


def _remove_emptied(workspace: Workspace, paths: Iterable[Path]) -> None:
    """Remove the folders that these files were the last in, below `model/` and the trash."""
    for folder in sorted({path.parent for path in paths}, reverse=True):
        while folder != workspace.models and workspace.root in folder.parents:
            try:
                folder.rmdir()
            except OSError:
                break
            folder = folder.parent


def _newest_trash(workspace: Workspace, name: str) -> Path:
    ending = f"-model-{name}"
    trash = workspace.private / "trash"
    found = [path for path in trash.iterdir() if _is_trash_of(path.name, ending)] if trash.is_dir() else []
    found = [path for path in found if any(path.iterdir())]
    if not found:
        raise UsageError(
            f"No model {name} has been deleted from this workspace.",
            hint="See what is there with: understudy model list",
        )
    return max(found, key=lambda path: path.name)


def _is_trash_of(folder: str, ending: str) -> bool:
    """Whether a folder of the trash, such as 20260131-235959-000001-model-hello, is called by its time and that end."""
    start = folder.removesuffix(ending)
    return start != folder and start.replace("-", "").isdigit()


def _remove_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            inner.rmdir()
        folder.rmdir()
