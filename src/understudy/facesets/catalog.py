"""What a faceset folder holds, known from one query instead of opening every file.

The cache is an SQLite file keyed by name, size and modification time. It is brought up to date when the catalog is
opened; a damaged or unwritable cache only costs the time to read the files again.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from understudy.errors import EmptyFaceset, UnreadableFace
from understudy.facesets import metadata
from understudy.facesets.catalog_cache import cache_name, connect, is_damage, remove, row_of_file, row_of_packed
from understudy.facesets.container import decode_jpeg
from understudy.facesets.faces import Face, parse_face
from understudy.facesets.metadata import FaceMeta
from understudy.facesets.packs import PACK_NAME, count_packed, each_packed, read_packed
from understudy.facesets.scanning import Stamp, face_beside, heads, scan
from understudy.records import FaceType, Rect, Skipped
from understudy.report import Pace, Report, Stop, never, silent

_BATCH = 500
_FACE_TYPES = {str(face_type): face_type for face_type in FaceType}

_ENTRY_COLUMNS = (
    "key, person, face_type, source, height, width, labelled, masked, confidence, track, person_group,"
    " rect_left, rect_top, rect_right, rect_bottom, offset, length, size, mtime_ns"
)


@dataclass(frozen=True, eq=False, slots=True)
class FaceEntry:
    """One face of a catalog; light enough to hold by the hundred thousand.

    key: file name, after its person's name and "/" in a faceset of several people. person: that sub-folder's name.
    source_filename: the frame it was cut from. height, width: of the aligned picture. confidence, track, group,
    source_rect: as in FaceMeta. packed_at: offset and length in faceset.pak, None for a loose file. stamp: size and
    modification time (ns) of the file that its bytes are in; another one tells that the face has changed.
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
    stamp: Stamp
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

    def __init__(
        self, folder: Path, database: sqlite3.Connection, *, path: Path | None = None, loose: bool = False
    ) -> None:
        """path: the file of the database; None: it is in memory."""
        self.folder, self._path = folder, path
        self._changes_before = 0
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
        catalog = cls(folder, connect(path), path=path, loose=loose)
        try:
            catalog.refresh(report, stop)
        except BaseException:
            catalog.close()
            raise
        return catalog

    def refresh(self, report: Report = silent, stop: Stop = never) -> None:
        """Look at the folder again: new and changed files are read, vanished ones forgotten.

        A damaged cache is made anew; one that is locked, or cannot be written to any more, is done without.
        """
        with self._lock:
            try:
                self._look_again(report, stop)
            except sqlite3.Error as error:
                self._changes_before += self._database.total_changes + 1
                self._database.close()
                if self._path is not None and is_damage(error):
                    remove(self._path)
                else:
                    self._path = None
                self._database = connect(self._path)
                self._look_again(report, stop)

    def _look_again(self, report: Report, stop: Stop) -> None:
        with self._database:
            pack = self.folder / PACK_NAME
            if pack.is_file() and not self._loose:
                self._refresh_pack(pack, report, stop)
            else:
                self._refresh_files(report, stop)

    @property
    def revision(self) -> tuple[int, int]:
        """Another one than before tells that faces were added, changed or removed, by whichever process; quick to ask
        for after `refresh`, however many faces there are."""
        ((by_others,),) = self._query("pragma data_version")
        return int(by_others), self._changes_before + self._database.total_changes

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

    def _refresh_files(self, report: Report, stop: Stop) -> None:
        there = dict(scan(self.folder))
        known = {key: (size, mtime) for key, size, mtime in self._query("select key, size, mtime_ns from faces")}
        gone = [(key,) for key in known if key not in there]
        self._database.executemany("delete from faces where key = ?", gone)
        changed = [key for key, stamp in there.items() if known.get(key) != stamp]
        pace = Pace("Reading faces", len(changed), report, unit="faces")
        for batch in heads(self.folder, changed, _BATCH):
            if stop():
                return
            self._store([row_of_file(self.folder, key, there[key], head) for key, head in batch])
            self._database.commit()  # what was read is kept when the process dies
            pace.advance(len(batch))

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
                self._store([row_of_packed(handle, face, stamp) for face in batch])
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
        confidence, track, group, left, top, right, bottom, offset, length, size, mtime_ns = rest
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
            stamp=(size, mtime_ns),
            _catalog=self,
        )

    def _meta_of(self, face: FaceEntry) -> FaceMeta:
        rows = self._query("select meta from faces join metas using (id) where key = ?", (face.key,))
        if not rows:
            raise UnreadableFace("This face has left the faceset since the catalog was opened.", path=face.path)
        return metadata.from_blob(rows[0][0])
