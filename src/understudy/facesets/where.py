"""Choosing faces by what is known of them: `index>0`, `person=anna`, `frame=100..250`, `confidence<0.6`.

A condition is a field, an operator and a value. Several conditions, in one text after a comma or in several texts, must
all hold. A comma before anything that is no condition goes on with a list of values: `frame=12,15,100..120`.

    numbers      = != < <= > >=     10 · 10,12 · 100..250 · 100.. · ..20 · none
    text         = != ~             * and ? stand for anything; ~ is "contains"; none: has none
    yes or no    = !=               labelled · labelled=no

A face that does not know a field (no confidence, say) is no match for any comparison but `=none` and `!=`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import Any

from understudy.errors import UsageError
from understudy.facesets.catalog import FaceEntry
from understudy.records import FaceType

Value = float | str | bool | None


class Kind(Enum):
    """What the values of a field are."""

    NUMBER = "a number"
    TEXT = "text"
    FLAG = "yes or no"


@dataclass(frozen=True)
class Field:
    """One thing that can be asked of a face."""

    name: str
    kind: Kind
    help: str


FIELDS: dict[str, Field] = {
    field.name: field
    for field in (
        Field("index", Kind.NUMBER, "number of the face in its frame: 0 is the largest"),
        Field("frame", Kind.NUMBER, "number in the frame's name, or its name without suffix"),
        Field("person", Kind.TEXT, "name of the person: group or sub-folder"),
        Field("track", Kind.NUMBER, "number of the face's track through its shot"),
        Field("confidence", Kind.NUMBER, "how sure the engine was, 0 to 1"),
        Field("yaw", Kind.NUMBER, "turn in degrees, positive: nose toward the left edge of the picture"),
        Field("turned", Kind.NUMBER, "turn to either side in degrees, 0 to 90"),
        Field("pitch", Kind.NUMBER, "nod in degrees, positive: up"),
        Field("size", Kind.NUMBER, "side of the aligned picture, px"),
        Field("face-size", Kind.NUMBER, "side of the face's box in its frame, px"),
        Field("type", Kind.TEXT, "face type, such as wf or whole_face"),
        Field("name", Kind.TEXT, "name of the face file"),
        Field("has-mask", Kind.FLAG, "whether a mask is stored with it"),
        Field("labelled", Kind.FLAG, "whether outlines were drawn on it"),
    )
}
"""Every field by name."""

_ALLOWED = {
    Kind.NUMBER: ("=", "!=", "<", "<=", ">", ">="),
    Kind.TEXT: ("=", "!=", "~"),
    Kind.FLAG: ("=", "!="),
}
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CONDITION = re.compile(r"\s*([a-z][a-z -]*?)\s*(!=|<=|>=|==|<|>|=|~)\s*(.*?)\s*", re.IGNORECASE | re.DOTALL)
_RANGE = re.compile(r"(-?[\d.]*?)\.\.(-?[\d.]*)")
_YES, _NO = ("yes", "true", "on", "1"), ("no", "false", "off", "0")


@dataclass(frozen=True)
class Condition:
    """One condition, understood. matches: whether a value of its field meets it."""

    field: Field
    text: str
    matches: Callable[[Value], bool]


@dataclass(frozen=True)
class Where:
    """Conditions that must all hold."""

    conditions: tuple[Condition, ...]

    def __str__(self) -> str:
        return " and ".join(condition.text for condition in self.conditions)

    @property
    def fields(self) -> list[str]:
        """Names of the fields that are asked, each once."""
        return list(dict.fromkeys(condition.field.name for condition in self.conditions))


def parse(texts: str | Sequence[str]) -> Where:
    """The conditions of one text or of several. Raises UsageError that says what is possible."""
    texts = [texts] if isinstance(texts, str) else list(texts)
    pieces = [piece for text in texts for part in re.split(r"\s+and\s+", text) for piece in _pieces(part)]
    if not pieces:
        raise UsageError("No condition was given.", hint=f'Say which faces, such as "index>0". {known_fields()}')
    return Where(tuple(_condition(piece) for piece in pieces))


def select(
    entries: Iterable[FaceEntry], where: Where | str | Sequence[str], *, among: Iterable[FaceEntry] | None = None
) -> list[FaceEntry]:
    """The faces that meet every condition, in their order.

    among: all faces of the faceset, by which faces of one frame are numbered, where `entries` are but some of them.
    Raises UsageError.
    """
    asked = where if isinstance(where, Where) else parse(where)
    faces = list(entries)
    values = Values(faces if among is None else list(among), numbered="index" in asked.fields)
    return [face for face in faces if values.meet(face, asked)]


def unknown(entries: Iterable[FaceEntry], where: Where) -> dict[str, int]:
    """How many faces do not know a field that is asked, which keeps them out of its comparisons; by field."""
    faces = list(entries)
    values = Values(faces, numbered="index" in where.fields)
    counts = {name: sum(values.of(face, name) is None for face in faces) for name in where.fields}
    return {name: count for name, count in counts.items() if count}


def known_fields() -> str:
    """One sentence that names every field."""
    return f"Fields: {', '.join(FIELDS)}."


def face_numbers(entries: Sequence[FaceEntry]) -> dict[str, int]:
    """The number of each face in its frame, by key: the one in its name, `<frame>_<k>.jpg`.

    Where faces were renamed, they are numbered as they would have been: largest box first, then by name.
    """
    frames: dict[str, list[FaceEntry]] = {}
    for face in entries:
        frames.setdefault(face.frame or face.key, []).append(face)
    numbers = {}
    for faces in frames.values():
        named = [number_in_name(face) for face in faces]
        if None in named:
            faces.sort(key=lambda face: (-(face.source_rect.area if face.source_rect else 0.0), face.key))
            named = list(range(len(faces)))
        numbers.update({face.key: number for face, number in zip(faces, named, strict=True) if number is not None})
    return numbers


def number_in_name(face: FaceEntry) -> int | None:
    """The k of `<frame>_<k>.jpg`; None for a name of another form."""
    found = re.fullmatch(re.escape(face.frame or "") + r"_(\d{1,9})", PurePath(face.name).stem)
    return int(found[1]) if found and face.frame else None


def number_of_frame(stem: str | None) -> int | None:
    """The number at the end of a frame's stem, such as 12 of 00012 or of shot_0012; None without one."""
    found = re.search(r"(\d{1,15})$", stem or "")
    return int(found[1]) if found else None


@dataclass
class Values:
    """What faces answer. numbered: whether their numbers in the frame are wanted; poses are kept once measured."""

    among: Sequence[FaceEntry]
    numbered: bool = False
    _numbers: dict[str, int] = field(init=False)
    _poses: dict[str, tuple[float, float] | None] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._numbers = face_numbers(self.among) if self.numbered else {}

    def meet(self, face: FaceEntry, where: Where) -> bool:
        """Whether a face meets every condition."""
        return all(condition.matches(self.of(face, condition.field.name)) for condition in where.conditions)

    def of(self, face: FaceEntry, name: str) -> Value:
        """The value of a field; None where the face does not know it. Angles are degrees, a frame is its stem."""
        if name in ("yaw", "pitch", "turned"):
            angles = self._angles(face)
            return None if angles is None else {"yaw": angles[0], "pitch": angles[1], "turned": abs(angles[0])}[name]
        return _READERS[name](self, face)

    def number(self, face: FaceEntry) -> int | None:
        return self._numbers.get(face.key)

    def _angles(self, face: FaceEntry) -> tuple[float, float] | None:
        """(yaw, pitch) in degrees."""
        if face.key not in self._poses:
            self._poses[face.key] = _angles(face)
        return self._poses[face.key]


def _angles(face: FaceEntry) -> tuple[float, float] | None:
    from understudy.geometry.pose import pose

    meta = face.meta
    if not meta.has_landmarks:
        return None
    found = pose(meta.landmarks, face.width)
    return math.degrees(found.yaw), math.degrees(found.pitch)


def _face_size(values: Values, face: FaceEntry) -> Value:
    rect = face.source_rect
    return None if rect is None else math.sqrt(abs(rect.area))


_READERS: dict[str, Callable[[Values, FaceEntry], Value]] = {
    "index": Values.number,
    "frame": lambda values, face: face.frame,
    "person": lambda values, face: face.who,
    "track": lambda values, face: face.track,
    "confidence": lambda values, face: face.confidence,
    "size": lambda values, face: face.width,
    "face-size": _face_size,
    "type": lambda values, face: str(face.face_type),
    "name": lambda values, face: face.name,
    "has-mask": lambda values, face: face.has_mask,
    "labelled": lambda values, face: face.is_labelled,
}


def _pieces(text: str) -> list[str]:
    """The conditions of one text; a piece after a comma that is none itself goes on with the values before it."""
    made: list[str] = []
    for piece in text.split(","):
        begins = _CONDITION.fullmatch(piece) or piece.strip().lower() in FIELDS
        if begins or not made:
            made.append(piece.strip())
        else:
            made[-1] += "," + piece.strip()
    return [piece for piece in made if piece]


def _condition(text: str) -> Condition:
    found = _CONDITION.fullmatch(text)
    name = (found[1] if found else text).strip().lower().replace("_", "-").replace(" ", "-")
    asked = FIELDS.get(name)
    if asked is None:
        raise UsageError(f"{text!r} asks for nothing that faces know.", hint=known_fields())
    if found is None:
        if asked.kind is not Kind.FLAG:
            raise UsageError(
                f"{text!r} has no comparison.",
                hint=f'Write the condition in quotes, such as "{name}{_example(asked)}": '
                "without them the shell takes < and > for itself.",
            )
        return Condition(asked, name, lambda value: value is True)
    sign, given = found[2].replace("==", "="), found[3].strip("\"'")
    if sign not in _ALLOWED[asked.kind]:
        raise UsageError(
            f"{text!r}: {name} is {asked.kind.value}, which {sign} cannot compare.",
            hint=f"Operators for it: {' '.join(_ALLOWED[asked.kind])}.",
        )
    return Condition(asked, f"{name}{sign}{given}", _matcher(asked, sign, given, text))


def _example(asked: Field) -> str:
    return ">0" if asked.kind is Kind.NUMBER else "=…"


def _matcher(asked: Field, sign: str, given: str, text: str) -> Callable[[Value], bool]:
    if sign in _COMPARE:
        limit, compare = _number(given, text), _COMPARE[sign]
        return lambda value: (number := _as_number(value)) is not None and compare(number, limit)
    values = [value.strip() for value in given.split(",")]
    if any(value == "" for value in values):
        raise UsageError(f"{text!r} names no value.", hint="For faces without one: none.")
    tests = [_test(asked, sign, value, text) for value in values]
    if sign == "!=":
        return lambda value: not any(test(value) for test in tests)
    return lambda value: any(test(value) for test in tests)


def _test(asked: Field, sign: str, wanted: str, text: str) -> Callable[[Value], bool]:
    """Whether one value is met; `sign` matters only where it is ~."""
    if wanted.lower() == "none":
        return lambda value: value is None
    if asked.kind is Kind.FLAG:
        truth = _truth(wanted, text)
        return lambda value: value is truth
    if asked.name == "type":
        wanted = _face_type(wanted, text)
    if asked.kind is Kind.TEXT:
        return _contains(wanted) if sign == "~" else _like(wanted)
    if asked.name == "frame" and not _RANGE.fullmatch(wanted) and not _is_number(wanted):
        return _like(wanted)
    low, high = _range(wanted, text)
    return lambda value: (number := _as_number(value)) is not None and low <= number <= high


def _as_number(value: Value) -> float | None:
    """A value as a number; of a frame's stem the number at its end."""
    number = number_of_frame(value) if isinstance(value, str) else value
    return None if number is None else float(number)


def _like(pattern: str) -> Callable[[Value], bool]:
    folded = pattern.casefold().replace("[", "[[]")
    return lambda value: isinstance(value, str) and fnmatchcase(value.casefold(), folded)


def _contains(part: str) -> Callable[[Value], bool]:
    folded = part.casefold()
    return lambda value: isinstance(value, str) and folded in value.casefold()


def _face_type(wanted: str, text: str) -> str:
    if any(character in wanted for character in "*?"):
        return wanted
    try:
        return str(FaceType(wanted))
    except ValueError:
        known: Any = ", ".join(str(kind) for kind in FaceType)
        raise UsageError(f"{text!r}: there is no such face type.", hint=f"Face types: {known}.") from None


def _truth(wanted: str, text: str) -> bool:
    if wanted.lower() in (*_YES, *_NO):
        return wanted.lower() in _YES
    raise UsageError(f"{text!r}: the value is yes or no.", hint="Such as: labelled=no")


def _range(wanted: str, text: str) -> tuple[float, float]:
    """Both ends, which belong to it; an open end is infinite."""
    found = _RANGE.fullmatch(wanted)
    if found is None:
        value = _number(wanted, text)
        return value, value
    low = _number(found[1], text) if found[1] else -math.inf
    high = _number(found[2], text) if found[2] else math.inf
    if low > high:
        raise UsageError(f"{text!r}: the range {wanted} ends before it begins.", hint=f"Try {found[2]}..{found[1]}.")
    return low, high


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _number(given: str, text: str) -> float:
    if not _is_number(given):
        raise UsageError(
            f"{text!r}: {given!r} is no number." if given else f"{text!r} names no number.",
            hint="Numbers are written as 12, 0.6 or -30, ranges as 100..250.",
        )
    return float(given)
