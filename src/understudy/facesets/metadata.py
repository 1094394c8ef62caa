"""What a face file knows about its face: one frozen record, and its translation to and from the stored dictionary."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from understudy.errors import FacesetError, UnreadableFace, UnsafeFile
from understudy.facesets import pickles
from understudy.facesets.container import MAX_PAYLOAD
from understudy.geometry.affine import Affine, Points
from understudy.records import FaceType, Rect

Points32 = npt.NDArray[np.float32]

NO_LANDMARKS: Points = np.zeros((0, 2))
NO_LANDMARKS.flags.writeable = False


@dataclass(frozen=True, eq=False)
class Polygon:
    """One hand-drawn outline. points: (N, 2) float32 in pixels of the aligned image, not closed."""

    points: Points32
    include: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "points", np.asarray(self.points, np.float32).reshape(-1, 2))


@dataclass(frozen=True, eq=False)
class FaceMeta:
    """The data of one aligned face. Arrays are not to be written into; `but` makes a changed copy.

    landmarks: (68, 2) float64 in pixels of this aligned image; (0, 2) in the rare file that has none.
    source_filename: name of the frame without folder. source_rect: detector box in frame pixels; files made elsewhere
    may have left > right or top > bottom there, for faces found in a turned frame.
    source_landmarks: (68, 2) float64 in frame pixels. image_to_face_mat: (2, 3) float64, frame → aligned pixels.
    xseg_mask: the applied mask as a PNG or JPEG string, of its own resolution (see `facesets.xseg`).
    polygons: outlines, includes first. eyebrows_expand_mod: how far a hull mask reaches above the brows.
    confidence: 0..1, how sure the engine was. track: number of the run of frames through which this face was followed.
    group: name of the person that grouping by appearance took it for. These three are ours; other programs keep them.
    extra: everything else the file held, kept as it was.
    """

    face_type: FaceType
    landmarks: Points
    source_filename: str | None = None
    source_rect: Rect | None = None
    source_landmarks: Points | None = None
    image_to_face_mat: Affine | None = None
    xseg_mask: bytes | None = None
    polygons: tuple[Polygon, ...] = ()
    eyebrows_expand_mod: float = 1.0
    confidence: float | None = None
    track: int | None = None
    group: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def has_landmarks(self) -> bool:
        return len(self.landmarks) == 68

    @property
    def is_labelled(self) -> bool:
        """Whether it has outlines with points in them, which is what mask training learns from."""
        return any(len(polygon.points) for polygon in self.polygons)

    def but(self, **changes: Any) -> FaceMeta:
        """A copy with some fields changed."""
        return replace(self, **changes)


def to_payload(meta: FaceMeta) -> bytes:
    """The pickle that a face file stores, protocol 3. Raises FacesetError when it does not fit into one segment."""
    try:
        return pickles.dumps(to_dict(meta), protocol=3, limit=MAX_PAYLOAD)
    except ValueError as error:
        raise FacesetError(
            f"The data of this face does not fit into a face file: {error}.",
            hint="Simplify its polygons or remove its stored mask.",
        ) from None


def from_payload(payload: bytes) -> FaceMeta:
    """The record of a stored pickle. Raises UnreadableFace, and UnsafeFile for a pickle that wants more than data."""
    value = pickles.loads(payload, limit=MAX_PAYLOAD, tables=_TABLES)
    if not isinstance(value, dict) or not value:
        raise UnreadableFace("The data of this face is empty or of another kind.", hint="Extract this face again.")
    return from_dict(value)


def to_blob(meta: FaceMeta) -> bytes:
    """All data of a face for our own caches: made and opened in a tenth of a pickle's time."""
    rect = meta.source_rect
    edges = None if rect is None else (rect.left, rect.top, rect.right, rect.bottom)
    arrays = (meta.landmarks if meta.has_landmarks else None, meta.source_landmarks, meta.image_to_face_mat, edges)
    flags = sum(1 << place for place, array in enumerate(arrays) if array is not None)
    numbers = [np.asarray(array, np.float64).tobytes() for array in arrays if array is not None]
    rest = replace(
        meta, landmarks=NO_LANDMARKS, source_landmarks=None, image_to_face_mat=None, source_rect=None
    )  # fmt: skip
    return b"".join([bytes([flags]), *numbers, pickles.dumps(to_dict(rest), protocol=4)])


def from_blob(blob: bytes) -> FaceMeta:
    """What `to_blob` was given. Its arrays are not to be written into."""
    at, found = 1, dict[str, Any]()
    for place, (name, shape) in enumerate(_BLOB_ARRAYS.items()):
        if blob[0] >> place & 1:
            count = math.prod(shape)
            found[name] = np.frombuffer(blob, np.float64, count, at).reshape(shape)
            at += 8 * count
    if "source_rect" in found:
        found["source_rect"] = Rect(*found["source_rect"].tolist())
    return replace(from_dict(pickles.loads(blob[at:])), **found)


def to_dict(meta: FaceMeta) -> dict[str, Any]:
    """The dictionary as stored, in the order other programs write it. What is absent is left out."""
    made: dict[str, Any] = {"face_type": str(meta.face_type)}
    if len(meta.landmarks):
        made["landmarks"] = _pairs(meta.landmarks)
    if meta.source_filename is not None:
        made["source_filename"] = meta.source_filename
    if meta.source_rect is not None:
        made["source_rect"] = _rect_array(meta.source_rect)
    if meta.source_landmarks is not None:
        made["source_landmarks"] = _pairs(meta.source_landmarks)
    if meta.image_to_face_mat is not None:
        made["image_to_face_mat"] = np.asarray(meta.image_to_face_mat, np.float64)
    if meta.xseg_mask is not None:
        made["xseg_mask"] = np.frombuffer(meta.xseg_mask, np.uint8)
    if meta.polygons:
        made["seg_ie_polys"] = polygons_to_dict(meta.polygons)
    if meta.eyebrows_expand_mod != 1.0:
        made["eyebrows_expand_mod"] = float(meta.eyebrows_expand_mod)
    ours = {CONFIDENCE_KEY: meta.confidence, TRACK_KEY: meta.track, GROUP_KEY: meta.group}
    made.update((key, value) for key, value in ours.items() if value is not None)
    made.update((key, value) for key, value in meta.extra.items() if value is not None and key not in _KNOWN)
    return made


def from_dict(stored: Mapping[str, Any]) -> FaceMeta:
    """The record of a stored dictionary; any key may be missing. Raises UnreadableFace for senseless values."""
    source_name = stored.get("source_filename")
    if source_name is not None and not isinstance(source_name, str):
        raise _senseless("source_filename")
    return FaceMeta(
        face_type=_face_type(stored.get("face_type")),
        landmarks=_landmarks(stored, "landmarks") if stored.get("landmarks") is not None else NO_LANDMARKS,
        source_filename=None if source_name is None else base_name(source_name),
        source_rect=_rect(stored.get("source_rect")),
        source_landmarks=_landmarks(stored, "source_landmarks") if stored.get("source_landmarks") is not None else None,
        image_to_face_mat=_matrix(stored.get("image_to_face_mat")),
        xseg_mask=_mask_bytes(stored.get("xseg_mask")),
        polygons=polygons_from(stored.get("seg_ie_polys")),
        eyebrows_expand_mod=_factor(stored.get("eyebrows_expand_mod")),
        confidence=_confidence(stored.get(CONFIDENCE_KEY)),
        track=_track(stored.get(TRACK_KEY)),
        group=_group(stored.get(GROUP_KEY)),
        extra={key: value for key, value in stored.items() if key not in _KNOWN and isinstance(key, str)},
    )


CONFIDENCE_KEY, TRACK_KEY, GROUP_KEY = "understudy_confidence", "understudy_track", "understudy_person"

_BLOB_ARRAYS: dict[str, tuple[int, ...]] = {
    "landmarks": (68, 2),
    "source_landmarks": (68, 2),
    "image_to_face_mat": (2, 3),
    "source_rect": (4,),
}

_FARTHEST = 2.0**53
"""No pixel is farther out; larger numbers do not fit into the types that they are stored in."""

_TABLES = frozenset({"landmarks", "source_landmarks"})

_KNOWN = frozenset(
    {"face_type", "landmarks", "source_filename", "source_rect", "source_landmarks", "image_to_face_mat"}
    | {"xseg_mask", "seg_ie_polys", "eyebrows_expand_mod", CONFIDENCE_KEY, TRACK_KEY, GROUP_KEY}
)


def base_name(name: str) -> str:
    """The last part of a name, whichever system's separators it has: names from files must not leave a folder.

    Raises UnsafeFile for a name that has no such part, holds a null byte or is no text.
    """
    base = name.replace("\\", "/").rsplit("/", 1)[-1]
    if base in ("", ".", "..") or "\x00" in base or not _is_text(base):
        raise UnsafeFile(f"{name[:80]!r} is no file name.", hint="Extract this face again.")
    return base


def _is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8: half of a surrogate pair cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def polygons_to_dict(polygons: Sequence[Polygon]) -> dict[str, Any]:
    """Outlines as stored: {'polys': [{'type': 1 include or 0 exclude, 'pts': (N, 2) float32}]}, includes first."""
    ordered = sorted(polygons, key=lambda polygon: not polygon.include)
    return {"polys": [{"type": int(p.include), "pts": np.asarray(p.points, np.float32)} for p in ordered]}


def polygons_from(stored: Any) -> tuple[Polygon, ...]:
    """Outlines from either stored form, the dictionary or a list of (type, points); includes first."""
    if isinstance(stored, dict):
        rows = stored.get("polys", [])
        pairs = [(row.get("type"), row.get("pts")) if isinstance(row, dict) else None for row in _sequence(rows)]
    else:
        pairs = [_pair(row) for row in stored] if isinstance(stored, list) else []
    made = [Polygon(_outline(pair[1]), include=_include(pair[0])) for pair in pairs if pair is not None]
    return tuple(sorted(made, key=lambda polygon: not polygon.include))


def _pair(row: Any) -> tuple[Any, Any] | None:
    return (row[0], row[1]) if isinstance(row, (list, tuple)) and len(row) == 2 else None


def _include(code: Any) -> bool:
    if not isinstance(code, (int, np.integer)) or int(code) not in (0, 1):
        raise _senseless("seg_ie_polys")
    return bool(code)


def _outline(value: Any) -> Points32:
    if value is None or (isinstance(value, (list, tuple, np.ndarray)) and len(value) == 0):
        return np.zeros((0, 2), np.float32)
    points = _numbers(value, (None, 2), "seg_ie_polys")
    if np.abs(points).max() > _FARTHEST:
        raise _senseless("seg_ie_polys")
    return points.astype(np.float32)


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()


def _face_type(value: Any) -> FaceType:
    if value is None:
        return FaceType.FULL
    try:
        return FaceType(str(value).lower())
    except ValueError:
        raise UnreadableFace(f"Unknown face type {str(value)[:40]!r}.", hint="Extract this face again.") from None


def _landmarks(stored: Mapping[str, Any], key: str) -> Points:
    return _numbers(stored[key], (68, 2), key)


def _matrix(value: Any) -> Affine | None:
    return None if value is None else _numbers(value, (2, 3), "image_to_face_mat")


def _rect(value: Any) -> Rect | None:
    if value is None:
        return None
    left, top, right, bottom = _numbers(value, (4,), "source_rect").tolist()
    return Rect(left, top, right, bottom)


def _rect_array(rect: Rect) -> npt.NDArray[Any]:
    """int64 (4,) as other programs expect; float64 only where a file held fractions."""
    edges = np.array([rect.left, rect.top, rect.right, rect.bottom], np.float64)
    if np.abs(edges).max() > _FARTHEST:
        return edges
    whole = edges.astype(np.int64)
    return whole if (whole == edges).all() else edges


def _factor(value: Any) -> float:
    return 1.0 if value is None else float(_numbers([value], (1,), "eyebrows_expand_mod")[0])


def _confidence(value: Any) -> float | None:
    """A number of 0..1, else None: what we only add must not make a face unusable."""
    is_number = isinstance(value, (int, float, np.floating)) and 0 <= value <= 1
    return float(value) if is_number else None


def _track(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, np.integer)) and 0 <= value < 2**63 else None


def _group(value: Any) -> str | None:
    return value if isinstance(value, str) and value and _is_text(value) else None


def _mask_bytes(value: Any) -> bytes | None:
    if value is None or isinstance(value, (bytes, bytearray)):
        return None if value is None else bytes(value)
    if isinstance(value, np.ndarray) and value.dtype == np.uint8:
        return value.tobytes()
    return _numbers(value, (None,), "xseg_mask").astype(np.uint8).tobytes()


def _numbers(value: Any, shape: tuple[int | None, ...], key: str) -> npt.NDArray[np.float64]:
    """Finite float64 numbers of a known shape (None: any length) from nested sequences or arrays."""
    made = _array(value, shape)
    if made is None or not np.isfinite(made).all():
        raise _senseless(key)
    return made


def _array(value: Any, shape: tuple[int | None, ...]) -> npt.NDArray[np.float64] | None:
    """`value` as float64 of that shape, or None. NumPy must not expand lists unseen: small pickles nest without end."""
    if not isinstance(value, np.ndarray):
        value = _flattened(value, len(shape))
    if value is None or value.ndim != len(shape) or value.dtype.kind not in "biuf":
        return None
    fits = all(wanted is None or wanted == found for wanted, found in zip(shape, value.shape, strict=True))
    if not fits:
        return None
    with np.errstate(invalid="ignore"):  # of a NaN that signals; numbers that are none are refused by the caller
        return np.asarray(value, np.float64)


def _flattened(value: Any, depth: int) -> npt.NDArray[Any] | None:
    """An array of sequences nested once or twice; None for anything else."""
    if not isinstance(value, (list, tuple)):
        return None
    kinds = set(map(type, value))
    if depth == 1:
        moderate = int not in kinds or _moderate(value)
        return np.array(value, np.float64) if kinds <= _NUMBERS and moderate else None
    if not kinds <= {list, tuple, np.ndarray} or len(set(map(len, value))) != 1:
        return None
    rows = value if np.ndarray not in kinds else [list(row) for row in value]
    inner = _flattened(list(chain.from_iterable(rows)), 1)
    return None if inner is None else inner.reshape(len(value), -1)


def _moderate(numbers: Sequence[Any]) -> bool:
    """Whether no whole number is too large for a float."""
    return all(abs(number) < 2**63 for number in numbers if type(number) is int)


_NUMBERS = frozenset({bool, int, float, np.float16, np.float32, np.float64, np.int32, np.int64, np.uint8})


def _pairs(points: Points) -> list[list[float]]:
    pairs: list[list[float]] = np.asarray(points, np.float64).tolist()
    return pairs


def _senseless(key: str) -> UnreadableFace:
    return UnreadableFace(f"The {key} of this face make no sense.", hint="Extract this face again.", key=key)
