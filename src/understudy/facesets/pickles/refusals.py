"""How the machine says no, and what the caller hears of it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import NoReturn

from understudy.errors import UnsafeFile

HINT = "The file is damaged or was not made by a program of this field; do not open it with anything else."


class DamagedError(Exception):
    """Raised inside the machine; the door turns it into UnsafeFile."""


class CutOffError(DamagedError):
    """The bytes at hand end before the pickle does; there may be more of them in the file."""


class SharedError(Exception):
    """The pickle refers to something that has been read but not kept, to save time or room."""


def refuse(why: str) -> NoReturn:
    """Raises DamagedError."""
    raise DamagedError(why)


@contextlib.contextmanager
def as_unsafe() -> Iterator[None]:
    """Turn what a bad pickle makes of the machine into UnsafeFile."""
    try:
        yield
    except DamagedError as error:
        raise UnsafeFile(f"Refused: {error}.", hint=HINT) from None
    except (LookupError, ValueError, TypeError, ArithmeticError, struct.error, MemoryError) as error:
        raise UnsafeFile(f"This is no readable data: {error}.", hint=HINT) from None
