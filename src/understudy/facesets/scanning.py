"""Which pictures lie in a faceset folder, and the first kilobytes of each, read ahead by threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from understudy.facesets.faces import FACE_SUFFIXES, HEAD_BYTES
from understudy.files import TEMP_PREFIX, is_folder

Stamp = tuple[int, int]
"""Size and modification time (ns) of a file: what tells that it has changed."""

DRAWN_ENDINGS = ("_debug", "_mask")
"""How names of pictures end that are drawn of a face and lie beside it."""

_IMAGE_SUFFIXES = (*FACE_SUFFIXES, ".png", ".tif", ".tiff")
_READERS, _PART = 4, 25  # threads that read ahead, files for each at a time


def scan(folder: Path) -> Iterator[tuple[str, Stamp]]:
    """(name, stamp) of every picture; (`person/name`, stamp) where pictures lie only in sub-folders."""
    loose = list(_pictures(folder))
    yield from loose
    if loose:
        return
    for sub in sorted(entry.name for entry in os.scandir(folder) if is_folder(entry) and entry.name[:1] != "."):
        for name, stamp in _pictures(folder / sub):
            yield f"{_as_text(sub)}/{name}", stamp


def _pictures(folder: Path) -> Iterator[tuple[str, Stamp]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if not entry.name.lower().endswith(_IMAGE_SUFFIXES) or entry.name.startswith((".", TEMP_PREFIX)):
                continue
            try:
                if entry.is_file():
                    stat = entry.stat()
                    yield _as_text(entry.name), (stat.st_size, stat.st_mtime_ns)
            except FileNotFoundError:
                continue
            except OSError:  # such as a link that leads to itself: listed, and then refused with the reason
                yield _as_text(entry.name), (0, 0)


def _as_text(name: str) -> str:
    """The name, with bytes that are no UTF-8 spelled out; such a file is then listed as one that cannot be opened."""
    return name if name.isascii() else name.encode("utf-8", "backslashreplace").decode("utf-8")


def heads(folder: Path, keys: Sequence[str], batch: int) -> Iterator[list[tuple[str, bytes | OSError]]]:
    """(key, first kilobytes or why they cannot be read) of each file, `batch` at a time.

    While one batch is looked at, threads read the next.
    """
    start = f"{folder}{os.sep}"

    def read(names: Sequence[str]) -> list[tuple[str, bytes | OSError]]:
        return [(name, _head(start + name)) for name in names]

    batches = deque(keys[at : at + batch] for at in range(0, len(keys), batch))
    waiting: deque[list[Future[list[tuple[str, bytes | OSError]]]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="heads") as pool:
        while batches or waiting:
            while batches and len(waiting) < 2:
                names = batches.popleft()
                parts = [names[at : at + _PART] for at in range(0, len(names), _PART)]
                waiting.append([pool.submit(read, part) for part in parts])
            yield [pair for part in waiting.popleft() for pair in part.result()]


def _head(path: str) -> bytes | OSError:
    """The first bytes of a file, nothing for a name that is no face's, or why it cannot be read."""
    if not path.lower().endswith(FACE_SUFFIXES):
        return b""
    try:
        with open(path, "rb", buffering=0) as handle:  # noqa: PTH123 - twice as fast as through a Path
            return handle.read(HEAD_BYTES) or b""
    except OSError as error:
        return error


def face_beside(key: str) -> str | None:
    """The key without suffix of the face that a picture was drawn of, going by its name; None for other pictures."""
    stem = key.rpartition(".")[0]
    return next((stem.removesuffix(ending) for ending in DRAWN_ENDINGS if stem.endswith(ending)), None)
