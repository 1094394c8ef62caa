"""What the catalog remembers: an SQLite file, made anew when it is damaged, with a row for each picture."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from pathlib import Path
from typing import Any, BinaryIO

from understudy.errors import UnderstudyError, UnreadableFace
from understudy.facesets import metadata
from understudy.facesets.faces import FACE_SUFFIXES, header_from, meta_of, read_header
from understudy.facesets.metadata import FaceMeta
from understudy.facesets.packs import PackedFace
from understudy.facesets.scanning import Stamp

Row = tuple[Any, ...]
"""The columns of `faces` but for the number, then the data for `metas`, None for what is no face."""

SCHEMA_VERSION = 4
_PATIENCE_SECS = 30.0  # for another process that writes the same cache

_SCHEMA = """
create table if not exists faces (
    id integer primary key, key text unique, size integer, mtime_ns integer, offset integer, length integer,
    person text, face_type text, source text, height integer, width integer, labelled integer, masked integer,
    confidence real, track integer, person_group text,
    rect_left real, rect_top real, rect_right real, rect_bottom real,
    reason text
);
create table if not exists metas (id integer primary key, meta blob);
create trigger if not exists forgotten after delete on faces begin delete from metas where id = old.id; end;
"""
"""All data of the faces lies in a table of its own: what every opening looks through stays small."""


def cache_name(folder: Path) -> str:
    """The name of the cache file of a faceset folder: the folder's own name and a digest of its path."""
    digest = hashlib.sha256(str(folder).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{folder.name}-{digest}.sqlite"


def connect(path: Path | None) -> sqlite3.Connection:
    """A connection with the schema in place; in memory when the file cannot be used. A damaged file is made anew."""
    for _ in range(2 if path is not None else 0):
        assert path is not None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _prepared(path)
        except OSError:
            break
        except sqlite3.Error as error:
            if not is_damage(error):
                break
            remove(path)
    return _prepared(None)


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is bad, as opposed to locked by another process, read-only or on a full disk."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)


def remove(path: Path) -> None:
    """Remove a cache file and what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _prepared(path: Path | None) -> sqlite3.Connection:
    database = sqlite3.connect(":memory:" if path is None else path, timeout=_PATIENCE_SECS, check_same_thread=False)
    try:
        version = database.execute("pragma user_version").fetchone()[0]
        if version not in (0, SCHEMA_VERSION):
            database.executescript("drop table if exists faces; drop table if exists metas;")
        database.execute("pragma page_size = 16384")  # of a new file: a face's data takes 2.4 kB
        database.execute("pragma journal_mode = wal")
        database.execute("pragma recursive_triggers = on")  # what is replaced is deleted first
        database.execute("pragma synchronous = normal")
        database.executescript(_SCHEMA)
        database.execute(f"pragma user_version = {SCHEMA_VERSION}")
        database.commit()
    except BaseException:
        database.close()
        raise
    return database


def row_of_file(folder: Path, key: str, stamp: Stamp, head: bytes | OSError) -> Row:
    """The row of a loose file, of whose bytes the first are at hand: a face's, or one that says why it is none."""
    person = key.split("/", 1)[0] if "/" in key else None
    row = (key, *stamp, None, None, person)
    try:
        if not key.lower().endswith(FACE_SUFFIXES):
            raise UnreadableFace("Only JPEG files can be faces.")
        return row + _columns(*read_header(folder / key, head))
    except UnderstudyError as error:
        return _refused(row, error)


def row_of_packed(pack: BinaryIO, face: PackedFace, stamp: Stamp) -> Row:
    """The row of a face in an open pack of that stamp."""
    head = (face.key, *stamp, face.offset, face.size, face.person)
    try:
        pack.seek(face.offset)
        header = header_from(pack, face.size)
        if header.size is None:
            raise UnreadableFace("This JPEG has no picture in it.")
        return head + _columns(meta_of(header) if header.payloads else face.meta(), header.size)
    except UnderstudyError as error:
        return _refused(head, error)


def _columns(meta: FaceMeta, size: tuple[int, int]) -> Row:
    if not meta.has_landmarks:
        raise UnreadableFace("This face has no landmarks.")
    blob = metadata.to_blob(meta)
    rect = meta.source_rect
    edges = (None,) * 4 if rect is None else (rect.left, rect.top, rect.right, rect.bottom)
    known = (int(meta.is_labelled), int(meta.xseg_mask is not None), meta.confidence, meta.track, meta.group)
    return (str(meta.face_type), meta.source_filename, *size, *known, *edges, None, blob)


def _refused(head: Row, error: UnderstudyError) -> Row:
    reason = error.context.get("reason", error.message)
    return (*head, None, None, None, None, 0, 0, *(None,) * 7, reason, None)
