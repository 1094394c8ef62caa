"""Writing that a crash cannot spoil: temp file, fsync, rename, fsync of the folder.

Full disks and missing permissions become errors of ours here, once, so that every stage says the same sentence.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from understudy.errors import DiskFull, ReadOnlyWorkspace, UnderstudyError, UsageError, WorkspaceError

TEMP_PREFIX = ".tmp-"
"""Names that start so are unfinished writes of a process that died; they may be deleted at any time."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well it replaces `path` in one step.

    Raises DiskFull or ReadOnlyWorkspace in place of the operating system's errors. On any error the old file stands.
    """
    temp = path.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{path.name}")
    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temp
            _sync_file(temp)
            temp.replace(path)
            sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temp.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a whole file atomically. durable=False skips the fsync: for one of many files that can be made again."""
    if durable:
        with writing(path) as temp:
            temp.write_bytes(data)
        return
    temp = path.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{path.name}")
    with os_errors(path):
        try:
            temp.write_bytes(data)
            temp.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temp.unlink(missing_ok=True)
            raise


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, UTF-8, as given."""
    write_bytes(path, text.encode())


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text; ValueError also for one that is nested so deeply that it is no honest one."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, indented, keys in the order given."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode("utf-8", "backslashreplace"))  # names of files may be no text: \udcff, as JSON has it


@contextlib.contextmanager
def publishing_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`; when the block ends well it is renamed to `path` in one step.

    `path` must not exist: a set of files that belong together is published once, under a new name.
    """
    temp = path.with_name(f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-{path.name}")
    with os_errors(path):
        temp.mkdir(parents=True)
        try:
            yield temp
            for item in temp.rglob("*"):
                if item.is_file():
                    _sync_file(item)
            sync_folder(temp)
            temp.rename(path)
            sync_folder(path.parent)
        finally:
            shutil.rmtree(temp, ignore_errors=True)


def sync_files(paths: Sequence[Path]) -> None:
    """Make whole files that were written without it survive a power cut. One that was deleted since is passed over.

    Raises DiskFull where a disk finds only now that it has no room.
    """
    folders = dict.fromkeys(path.parent for path in paths)
    for path in paths:
        # PermissionError: on Windows, another program has the file open
        with os_errors(path), contextlib.suppress(FileNotFoundError, PermissionError):
            _sync_file(path)
    for folder in folders:
        sync_folder(folder)


def is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a file, or a link to one; False where the system cannot say, as of a link that leads to itself."""
    try:
        return entry.is_file()
    except OSError:
        return False


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder, or a link to one; False where the system cannot say."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def make_folder(folder: Path) -> None:
    """Make a folder with all above it, if it is not there. Raises as `os_errors`, and WorkspaceError for no place."""
    with os_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except FileNotFoundError as error:  # a drive that is not there, a place that the system keeps for itself
            raise WorkspaceError(
                f"The folder {folder.name} cannot be made: its place does not exist.",
                hint=f"Look whether the disk is there and the name is right: {folder}",
                path=folder,
            ) from error


def require_writable(folder: Path) -> None:
    """Say before long work what writing into `folder` would say after it. Raises ReadOnlyWorkspace, DiskFull."""
    probe = folder / f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-probe"
    with os_errors(folder / "files"):
        probe.touch()
        probe.unlink()


def sweep(folder: Path, names: str = "*") -> None:
    """Delete the unfinished writes that killed processes left in `folder`. names: of what they were to become.

    For the one writer of these files only, since a living process's writes look the same.
    """
    if folder.is_dir():
        for left_over in folder.glob(f"{TEMP_PREFIX}????????-{names}"):
            with contextlib.suppress(OSError):
                shutil.rmtree(left_over) if left_over.is_dir() else left_over.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut, where the system offers it."""
    with contextlib.suppress(OSError, PermissionError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def os_errors(path: Path) -> Iterator[None]:
    """Turn the system's errors that a user can do something about into errors of ours that name `path`.

    Raises DiskFull, ReadOnlyWorkspace, UsageError for too long a name, and WorkspaceError where a file is in the way of
    a folder or the other way round.
    """
    try:
        yield
    except OSError as error:
        ours = error_of(error, path)
        if ours is None:
            raise
        raise ours from error


def error_of(error: OSError, path: Path) -> UnderstudyError | None:
    """The error of ours that says what the system's error means for `path`; None for one that says nothing of it."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return DiskFull(
            f"The disk is full: {path.name} could not be written. Everything written before it is whole.",
            hint=f"Free some room on the disk of {path.parent}, then run the same command again; it resumes.",
            path=path,
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ReadOnlyWorkspace(
            f"No permission to write {path.name}.",
            hint=f"Make {path.parent} writable for this user, or choose another workspace with -w.",
            path=path,
        )
    if error.errno == errno.ENAMETOOLONG:
        return UsageError(
            f"A name is too long for this disk: {path.name[:40]}…", hint="Choose a shorter name.", path=path
        )
    if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.ELOOP):
        there = Path(str(error.filename2 or error.filename or path))
        return WorkspaceError(
            f"{there.name} is in the way: a file where a folder should be, or a folder where a file should be.",
            hint=f"Look at {there} and move what is not of this program away, then run the same command again.",
            path=there,
        )
    return None


def _sync_file(path: Path) -> None:
    with path.open("rb+") as handle:
        os.fsync(handle.fileno())


def user_data_folder() -> Path:
    """Where things shared by workspaces live: engines, pretrained models, measurements. `UNDERSTUDY_HOME` overrides."""
    import platformdirs

    chosen = os.environ.get("UNDERSTUDY_HOME")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("understudy", appauthor=False))
