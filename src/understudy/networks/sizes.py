"""Which numbers a network can be built from, and what is made of the ones that people type."""

from __future__ import annotations

from understudy.errors import InvalidOption
from understudy.records import FaceType

LARGEST_SIZE, MOST_DIMS = 4096, 16384
"""Beyond these no machine holds the network, and a number that large comes from a damaged file."""

EVERY_FACE_TYPE = (FaceType.HALF, FaceType.MID_FULL, FaceType.FULL, FaceType.WHOLE_FACE, FaceType.HEAD)
"""The face types that a network can be trained on."""


def within(value: int, least: int, most: int) -> int:
    """The nearest number of the range."""
    return max(least, min(most, value))


def even(value: int) -> int:
    """The value, or one more if it is odd."""
    return value + value % 2


def require_size(size: int, multiple: int, why: str = "") -> None:
    """Raise InvalidOption unless the side of a face is a whole number that `multiple` divides."""
    if not _is_whole(size) or not 0 < size <= LARGEST_SIZE or size % multiple:
        raise InvalidOption(
            " ".join(filter(None, [f"Faces of {size} px cannot be built: sizes are multiples of {multiple}", why]))
            + ".",
            hint=_neighbours(size, multiple),
        )


def require_dims(**dims: int) -> None:
    """Raise InvalidOption unless every number of channels is a whole number of at least 1."""
    for name, value in dims.items():
        if not _is_whole(value) or not 1 <= value <= MOST_DIMS:
            raise InvalidOption(f"{name} is {value}; it must be a whole number from 1 to {MOST_DIMS}.")


def _neighbours(size: int, multiple: int) -> str:
    if not _is_whole(size) or not multiple < size < LARGEST_SIZE:
        return f"Choose a multiple of {multiple} from 64 to 640."
    below = size // multiple * multiple
    return f"The nearest are {below} and {below + multiple}."


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
