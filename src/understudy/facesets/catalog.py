"""What a faceset folder holds, known from one query instead of opening every file.

The cache is an SQLite file keyed by name, size and modification time. It is brought up to date when the catalog is
opened; a damaged or unwritable cache only costs the time to read the files again.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

from understudy.errors import EmptyFaceset, UnderstudyError, UnreadableFace
from understudy.facesets import metadata
from understudy.facesets.container import decode_jpeg
from understudy.facesets.faces import FACE_SUFFIXES, HEAD_BYTES, Face, header_from, meta_of, parse_face, read_header
from understudy.facesets.metadata import FaceMeta
from understudy.facesets.packs import PACK_NAME, PackedFace, count_packed, each_packed, read_packed
from understudy.files import TEMP_PREFIX, is_folder
from understudy.records import FaceType, Rect, Skipped
from understudy.report import Pace, Report, Stop, never, silent

SCHEMA_VERSION = 4

DRAWN_ENDINGS = ("_debug", "_mask")
"""How names of pictures end that are drawn of a face and lie beside it."""

_IMAGE_SUFFIXES = (*FACE_SUFFIXES, ".png", ".tif", ".tiff")
_BATCH = 500
_READERS, _PART = 4, 25  # threads that read ahead, files for each at a time
_PATIENCE_SECS = 30.0  # for another process that writes the same cache
_FACE_TYPES = {str(face_type): face_type for face_type in FaceType}

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

_ENTRY_COLUMNS = (
    "key, person, face_type, source, height, width, labelled, masked, confidence, track, person_group,"
    " rect_left, rect_top, rect_right, rect_bottom, offset, length"
)


@dataclass(frozen=True, eq=False, slots=True)
class FaceEntry:
    """One face of a catalog; light enough to hold by the hundred thousand.

    key: file name, after its person's name and "/" in a faceset of several people. person: that sub-folder's name.
    source_filename: the frame it was cut from. height, width: of the aligned picture. confidence, track, group,
    source_rect: as in FaceMeta. packed_at: offset and length in faceset.pak, None for a loose file.
    """

    key: str
    person: str | None
    face_type: FaceType
    source_filename: str | None
    height: int
    width: int
    is_labelled: bool
    has_mask: bool
    confidence: float | None
    track: int | None
    group: str | None
    source_rect: Rect | None
    packed_at: tuple[int, int] | None
    _catalog: Catalog

    @property
    def name(self) -> str:
        """The file name."""
        return self.key.rsplit("/", 1)[-1]

    @property
    def who(self) -> str | None:
        """The person: the sub-folder's name, else the name of the group."""
        return self.person or self.group

    @property
    def path(self) -> Path:
        """Where the file is or, for a packed face, would be."""
        return self._catalog.folder / self.key

    @property
    def source_path(self) -> Path:
        """The file that its bytes are in: the loose file, or the pack."""
        return self.path if self.packed_at is None else self._catalog.folder / PACK_NAME

    @property
    def meta(self) -> FaceMeta:
        """All data of the face, fetched from the catalog at each call: keep it in a variable where it is used twice."""
        return self._catalog._meta_of(self)

    @property
    def frame(self) -> str | None:
        """The stem of the frame's name, by which faces and frames find each other."""
        return None if self.source_filename is None else Path(self.source_filename).stem

    def read_bytes(self) -> bytes:
        """The JPEG file as it is, packed or loose. Raises UnreadableFace."""
        try:
            if self.packed_at is not None:
                return read_packed(self._catalog.folder / PACK_NAME, *self.packed_at)
            return self.path.read_bytes()
        except OSError as error:
            raise UnreadableFace(f"The face cannot be read: {error.strerror or error}.", path=self.path) from None

    def read(self) -> Face:
        """Picture and data. Raises UnreadableFace or UnsafeFile."""
        if self.packed_at is None:
            return parse_face(self.read_bytes(), self.path)
        return Face(decode_jpeg(self.read_bytes()), self.meta)  # a pack may hold data that its JPEG has lost


class Catalog:
    """The faces of one folder: loose files, or faceset.pak where there is one, or one sub-folder per person.

    A pack wins over loose files; sub-folders count only where the folder itself has no pictures. May be used from
    several threads. Close it, or use it in a `with` block.
    """

    def __init__(self, folder: Path, database: sqlite3.Connection, *, loose: bool = False) -> None:
        self.folder = folder
        self._loose = loose
        self._database = database
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        cache: Path | None = None,
        loose: bool = False,
        report: Report = silent,
        stop: Stop = never,
    ) -> Catalog:
        """The catalog of `folder`, brought up to date.

        cache: folder in which the cache lies, such as workspace.catalogs; None keeps it in memory. loose: look at the
        loose files although there is a pack; only without a cache, which remembers what everybody else sees.
        When `stop` turns true the rest of the files is left for the next time.
        Raises EmptyFaceset when the folder does not exist, and UnreadableFace for a broken faceset.pak.
        """
        folder = Path(folder).absolute()
        if not folder.is_dir():
            raise EmptyFaceset(
                f"There is no faceset yet: {folder.name} does not exist.",
                hint="Make one with: understudy faceset extract src (or dst)",
                folder=folder,
            )
        path = None if cache is None or loose else cache / cache_name(folder)
        catalog = cls(folder, _connect(path), loose=loose)
        try:
            catalog._refresh_or_rebuild(path, report, stop)
        except BaseException:
            catalog.close()
            raise
        return catalog

    def refresh(self, report: Report = silent, stop: Stop = never) -> None:
        """Look at the folder again: new and changed files are read, vanished ones forgotten."""
        with self._lock, self._database:
            pack = self.folder / PACK_NAME
            if pack.is_file() and not self._loose:
                self._refresh_pack(pack, report, stop)
            else:
                self._refresh_files(report, stop)

    def renamed(self, moves: Sequence[tuple[str, str]]) -> None:
        """Follow files that were renamed inside the folder: (old key, new key) pairs, which may be a permutation.

        Nothing is read again: a rename keeps size and time. Unknown old keys are passed over, what stood under a new
        key is forgotten. A cache that cannot be written to is brought up to date by the next `refresh`.
        """
        between = [(f"\0{old}", old) for old, _ in moves]  # names that no file has, so that permutations do not meet
        after = [(new, new.split("/", 1)[0] if "/" in new else None, f"\0{old}") for old, new in moves]
        with self._lock, contextlib.suppress(sqlite3.OperationalError), self._database:
            self._database.executemany("update faces set key = ? where key = ?", between)
            self._database.executemany("delete from faces where key = ?", [(new,) for _, new in moves])
            self._database.executemany("update or replace faces set key = ?, person = ? where key = ?", after)

    def close(self) -> None:
        """Let go of the cache file."""
        with self._lock:
            self._database.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self._database.close()

    def __len__(self) -> int:
        """How many faces can be used."""
        return int(self._query("select count(*) from faces where reason is null")[0][0])

    def __iter__(self) -> Iterator[FaceEntry]:
        return iter(self.faces())

    def faces(self, *, person: str | None = None) -> list[FaceEntry]:
        """Usable faces in order of person and name; of one person when named."""
        wanted = "" if person is None else " and person = ?"
        order = "offset" if self._is_packed() else "person, key"
        rows = self._query(
            f"select {_ENTRY_COLUMNS} from faces where reason is null{wanted} order by {order}",
            () if person is None else (person,),
        )
        return [self._entry(row) for row in rows]

    def by_frame(self) -> dict[str, list[FaceEntry]]:
        """Faces by the stem of the frame they were cut from; faces that do not know their frame are left out."""
        found: dict[str, list[FaceEntry]] = {}
        for face in self.faces():
            if face.frame is not None:
                found.setdefault(face.frame, []).append(face)
        return found

    def each_meta(self) -> Iterator[tuple[FaceEntry, FaceMeta]]:
        """All faces with all their data, in order, a few in memory at a time: quicker than `entry.meta` for each."""
        faces = self.faces()
        for start in range(0, len(faces), _BATCH):
            batch = faces[start : start + _BATCH]
            places = ",".join("?" * len(batch))
            keys = tuple(face.key for face in batch)
            found = self._query(f"select key, meta from faces join metas using (id) where key in ({places})", keys)
            blobs = dict(found)
            for face in batch:
                blob = blobs.get(face.key)
                if blob is not None:  # else it has left the faceset meanwhile
                    yield face, metadata.from_blob(blob)

    @property
    def bytes_on_disk(self) -> int:
        """What the files of the usable faces take together; of a pack, the whole pack for each face in it."""
        return int(self._query("select coalesce(sum(size), 0) from faces where reason is null")[0][0])

    @property
    def skipped(self) -> list[Skipped]:
        """Pictures of the folder that are no usable faces, and why.

        Pictures drawn of a face and lying beside it, 00001_0_debug.jpg and 00001_0_mask.png, are not listed.
        """
        rows = self._query("select key, reason from faces where reason is not null order by key")
        return [Skipped(item, reason) for item, reason in rows if not self._is_beside_a_face(item)]

    def _is_beside_a_face(self, key: str) -> bool:
        owner = face_beside(key)
        return owner is not None and bool(
            self._query(
                "select 1 from faces where reason is null and key in (?, ?, ?, ?)",
                tuple(f"{owner}{suffix}" for suffix in (".jpg", ".jpeg", ".JPG", ".JPEG")),
            )
        )

    @property
    def persons(self) -> list[str]:
        """Names of the sub-folders of a faceset of several people; empty for one person."""
        rows = self._query("select distinct person from faces where person is not null and reason is null order by 1")
        return [name for (name,) in rows]

    def require_faces(self) -> list[FaceEntry]:
        """The faces, or EmptyFaceset with the counts when there is none."""
        faces = self.faces()
        if faces:
            return faces
        skipped = len(self.skipped)
        side = self.folder.parent.name.removeprefix("data_")
        raise EmptyFaceset(
            f"The faceset has {skipped} pictures but none has face data." if skipped else "The faceset is empty.",
            hint=f"Make faces with: understudy faceset extract {side if side in ('src', 'dst') else 'src'}",
            images=skipped,
            folder=self.folder,
        )

    # -- inside

    def _refresh_or_rebuild(self, path: Path | None, report: Report, stop: Stop) -> None:
        """Refresh; a damaged cache is made anew, one that is locked or cannot be written is done without."""
        try:
            self.refresh(report, stop)
        except sqlite3.Error as error:
            self._database.close()
            if path is not None and _is_damage(error):
                _remove(path)
                self._database = _connect(path)
            else:
                self._database = _connect(None)
            self.refresh(report, stop)

    def _refresh_files(self, report: Report, stop: Stop) -> None:
        there = dict(_scan(self.folder))
        known = {key: (size, mtime) for key, size, mtime in self._query("select key, size, mtime_ns from faces")}
        gone = [(key,) for key in known if key not in there]
        self._database.executemany("delete from faces where key = ?", gone)
        changed = [key for key, stamp in there.items() if known.get(key) != stamp]
        pace = Pace("Reading faces", len(changed), report, unit="faces")
        for heads in _heads(self.folder, changed):
            if stop():
                return
            self._store([_row_of_file(self.folder, key, there[key], head) for key, head in heads])
            self._database.commit()  # what was read is kept when the process dies
            pace.advance(len(heads))

    def _refresh_pack(self, pack: Path, report: Report, stop: Stop) -> None:
        stat = pack.stat()
        stamp = (stat.st_size, stat.st_mtime_ns)
        known = self._query("select distinct size, mtime_ns from faces")
        if known == [stamp] and self._is_packed():
            return
        self._database.execute("delete from faces")
        pace = Pace("Reading faces", count_packed(pack), report, unit="faces")
        packed = each_packed(pack)
        with pack.open("rb") as handle:
            while batch := list(itertools.islice(packed, _BATCH)):
                if stop():
                    self._database.execute("delete from faces")
                    return
                self._store([_row_of_packed(handle, face, stamp) for face in batch])
                pace.advance(len(batch))

    def _store(self, rows: list[tuple[Any, ...]]) -> None:
        if not self._database.in_transaction:
            self._database.execute("begin immediate")  # so that no other process gives the same numbers
        ((last,),) = self._query("select coalesce(max(id), 0) from faces")
        numbered = [(number, *row[:-1]) for number, row in enumerate(rows, last + 1)]
        metas = [(number, row[-1]) for number, row in enumerate(rows, last + 1) if row[-1] is not None]
        places = ",".join("?" * len(numbered[0])) if numbered else ""
        self._database.executemany(f"insert or replace into faces values ({places})", numbered)
        self._database.executemany("insert into metas values (?, ?)", metas)

    def _query(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._database.execute(sql, values).fetchall()

    def _is_packed(self) -> bool:
        return bool(self._query("select 1 from faces where offset is not null limit 1"))

    def _entry(self, row: tuple[Any, ...]) -> FaceEntry:
        key, person, face_type, source, height, width, labelled, masked, *rest = row
        confidence, track, group, left, top, right, bottom, offset, length = rest
        return FaceEntry(
            key=key,
            person=person,
            face_type=_FACE_TYPES[face_type],
            source_filename=source,
            height=height,
            width=width,
            is_labelled=bool(labelled),
            has_mask=bool(masked),
            confidence=confidence,
            track=track,
            group=group,
            source_rect=None if left is None else Rect(left, top, right, bottom),
            packed_at=None if offset is None else (offset, length),
            _catalog=self,
        )

    def _meta_of(self, face: FaceEntry) -> FaceMeta:
        rows = self._query("select meta from faces join metas using (id) where key = ?", (face.key,))
        if not rows:
            raise UnreadableFace("This face has left the faceset since the catalog was opened.", path=face.path)
        return metadata.from_blob(rows[0][0])


def face_beside(key: str) -> str | None:
    """The key without suffix of the face that a picture was drawn of, going by its name; None for other pictures."""
    stem = key.rpartition(".")[0]
    return next((stem.removesuffix(ending) for ending in DRAWN_ENDINGS if stem.endswith(ending)), None)


def cache_name(folder: Path) -> str:
    """The name of the cache file of a faceset folder: the folder's own name and a digest of its path."""
    digest = hashlib.sha256(str(folder).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{folder.name}-{digest}.sqlite"


def _connect(path: Path | None) -> sqlite3.Connection:
    """A connection with the schema in place; in memory when the file cannot be used. A damaged file is made anew."""
    for _ in range(2 if path is not None else 0):
        assert path is not None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _prepared(path)
        except OSError:
            break
        except sqlite3.Error as error:
            if not _is_damage(error):
                break
            _remove(path)
    return _prepared(None)


def _is_damage(error: sqlite3.Error) -> bool:
    """Whether the file itself is bad, as opposed to locked by another process, read-only or on a full disk."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)


def _remove(path: Path) -> None:
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


def _scan(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """(name, (size, mtime_ns)) of every picture; `person/name` where pictures lie only in sub-folders."""
    loose = list(_pictures(folder))
    yield from loose
    if loose:
        return
    for sub in sorted(entry.name for entry in os.scandir(folder) if is_folder(entry) and entry.name[:1] != "."):
        for name, stamp in _pictures(folder / sub):
            yield f"{_as_text(sub)}/{name}", stamp


def _pictures(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
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


def _heads(folder: Path, keys: Sequence[str]) -> Iterator[list[tuple[str, bytes | OSError]]]:
    """The first kilobytes of each file, a batch at a time; while one is looked at, threads read the next."""
    start = f"{folder}{os.sep}"

    def read(names: Sequence[str]) -> list[tuple[str, bytes | OSError]]:
        return [(name, _head(start + name)) for name in names]

    batches = deque(keys[at : at + _BATCH] for at in range(0, len(keys), _BATCH))
    waiting: deque[list[Future[list[tuple[str, bytes | OSError]]]]] = deque()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="heads") as pool:
        while batches or waiting:
            while batches and len(waiting) < 2:
                batch = batches.popleft()
                parts = [batch[at : at + _PART] for at in range(0, len(batch), _PART)]
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


def _row_of_file(folder: Path, key: str, stamp: tuple[int, int], head: bytes | OSError) -> tuple[Any, ...]:
    person = key.split("/", 1)[0] if "/" in key else None
    row = (key, *stamp, None, None, person)
    try:
        if not key.lower().endswith(FACE_SUFFIXES):
            raise UnreadableFace("Only JPEG files can be faces.")
        return row + _columns(*read_header(folder / key, head))
    except UnderstudyError as error:
        return _refused(row, error)


def _row_of_packed(pack: BinaryIO, face: PackedFace, stamp: tuple[int, int]) -> tuple[Any, ...]:
    head = (face.key, *stamp, face.offset, face.size, face.person)
    try:
        pack.seek(face.offset)
        header = header_from(pack, face.size)
        if header.size is None:
            raise UnreadableFace("This JPEG has no picture in it.")
        return head + _columns(meta_of(header) if header.payloads else face.meta(), header.size)
    except UnderstudyError as error:
        return _refused(head, error)


def _columns(meta: FaceMeta, size: tuple[int, int]) -> tuple[Any, ...]:
    if not meta.has_landmarks:
        raise UnreadableFace("This face has no landmarks.")
    blob = metadata.to_blob(meta)
    rect = meta.source_rect
    edges = (None,) * 4 if rect is None else (rect.left, rect.top, rect.right, rect.bottom)
    known = (int(meta.is_labelled), int(meta.xseg_mask is not None), meta.confidence, meta.track, meta.group)
    return (str(meta.face_type), meta.source_filename, *size, *known, *edges, None, blob)


def _refused(head: tuple[Any, ...], error: UnderstudyError) -> tuple[Any, ...]:
    reason = error.context.get("reason", error.message)
    return (*head, None, None, None, None, 0, 0, *(None,) * 7, reason, None)
