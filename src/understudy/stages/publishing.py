"""A set of files that goes into a folder where others lie: all of it or nothing, whatever is cut off.

    TARGET/.tmp-…-LABEL/        the files while they are written; swept away if nobody finishes them
    TARGET/.publishing-LABEL/   the same, complete and safe on the disk, by one rename: from here on they will appear
        plan.json               which file is the last one, which old ones go, and where to
    TARGET/*                    the old ones in the trash, the new ones in place; the folder above is gone

The old last file goes first and the new one comes last, so that a program which knows a set by that file never sees
half of one. What a killed process left is finished by the next.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from understudy import files
from understudy.errors import WorkspaceError
from understudy.files import os_errors, parse_json, publishing_folder, write_json

SCHEMA = "understudy-publishing/1"
PLAN = "plan.json"
PREFIX = ".publishing-"


@contextlib.contextmanager
def publishing_set(
    target: Path, label: str, *, last: str, trash: Path, replacing: Sequence[str] = ()
) -> Iterator[Path]:
    """Give a folder for the files of a set; when the block ends well they appear in `target`, else nothing has changed.

    label: names the set. last: the name of the file by which others know it. replacing: names of old files in `target`
    that move to `trash`. For the one writer of the set, after `finish_publishing`.
    Raises DiskFull, ReadOnlyWorkspace and WorkspaceError, with every old file in its place.
    """
    with os_errors(target):
        target.mkdir(parents=True, exist_ok=True)
    with publishing_folder(target / (PREFIX + label)) as temp:
        yield temp
        plan = {"schema": SCHEMA, "last": last, "replacing": list(replacing), "trash": str(trash)}
        write_json(temp / PLAN, plan)
    ready = target / (PREFIX + label)
    moved: list[tuple[Path, Path]] = []
    with os_errors(target):
        try:
            _place(ready, moved)
        except BaseException:
            with contextlib.suppress(OSError):  # what fails again is left for `finish_publishing`
                for old, new in reversed(moved):
                    _move(new, old)
                _drop(ready)
            raise


def finish_publishing(target: Path, label: str) -> bool:
    """Finish what a killed process left; whether there was anything. Raises WorkspaceError when it makes no sense."""
    ready = target / (PREFIX + label)
    with os_errors(target):
        if target.is_dir():
            files.sweep(target, glob.escape(PREFIX + label))
        if not ready.is_dir():
            return False
        _place(ready, [])
    return True


def _place(ready: Path, moved: list[tuple[Path, Path]]) -> None:
    """Bring every file where the plan says, from wherever it is by now. moved: told (from, to) of each that moved."""
    target = ready.parent
    last, replacing, trash = _read_plan(ready)
    names = sorted(path.name for path in ready.iterdir() if path.name != PLAN)
    old = [name for name in replacing if name not in names] + [name for name in names if name != last]
    for name in ([last] if last in names else []) + old:
        if (target / name).exists():
            _set_aside(target / name, trash, moved)
    sync = [target, *([trash] if trash.is_dir() else [])]
    for name in [name for name in names if name != last] + [name for name in names if name == last]:
        if name == last:
            for folder in sync:
                files.sync_folder(folder)
        _record(ready / name, target / name, moved)
    files.sync_folder(target)
    _drop(ready)


def _drop(ready: Path) -> None:
    """Delete the folder, under a name first that says it is nothing any more."""
    hidden = ready.with_name(f"{files.TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{ready.name}")
    ready.rename(hidden)
    shutil.rmtree(hidden, ignore_errors=True)


def _read_plan(ready: Path) -> tuple[str, list[str], Path]:
    try:
        plan = parse_json((ready / PLAN).read_bytes())
        names = [str(plan["last"]), *map(str, plan["replacing"])]
        if plan["schema"] != SCHEMA or any(name != Path(name).name for name in names):
            raise ValueError("it is none of ours")
        return names[0], names[1:], Path(plan["trash"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorkspaceError(
            f"{ready.name} holds files that were to be put beside it, but its plan cannot be read ({error}).",
            hint="Move the files in it to where they belong by hand, then remove the folder.",
            folder=ready,
        ) from error


def _set_aside(path: Path, trash: Path, moved: list[tuple[Path, Path]]) -> None:
    trash.mkdir(parents=True, exist_ok=True)
    place, number = trash / path.name, 1
    while place.exists():
        number += 1
        place = trash / f"{path.stem}_{number}{path.suffix}"
    _record(path, place, moved)


def _record(old: Path, new: Path, moved: list[tuple[Path, Path]]) -> None:
    _move(old, new)
    moved.append((old, new))


def _move(old: Path, new: Path) -> None:
    """Rename, or copy safely where the two are on different disks."""
    try:
        old.rename(new)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with files.writing(new) as temp:
            shutil.copy2(old, temp)
        old.unlink()
