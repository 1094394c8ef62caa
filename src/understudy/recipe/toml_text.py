"""A TOML text as values, with our error for whatever cannot be read."""

from __future__ import annotations

import tomllib
from typing import Any

from understudy.errors import InvalidOption

LONGEST = 500_000
DEEPEST = 32
"""Tables and lists within each other. A recipe needs five; with many more, whatever walks over them ends in a fault."""


def read_toml(text: str, file: str) -> dict[str, Any]:
    """The values of a TOML text. file: what messages call it.

    Raises InvalidOption for what is no TOML, too long, nested too deeply, or holds a number of thousands of digits.
    """
    if len(text) > LONGEST:
        raise InvalidOption(f"{file} is too long for a recipe.", hint=f"It may have {LONGEST:,} letters.")
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidOption(f"{file} is no valid TOML: {error}", hint=f"Mend {file}, and run it again.") from error
    except ValueError as error:
        raise InvalidOption(f"{file} holds a number that is too long.", hint=f"Mend {file}.") from error
    except RecursionError:
        values = None
    if values is None or not _is_shallow(values):
        raise InvalidOption(
            f"Tables or lists in {file} are nested too deeply.", hint=f"A recipe has at most {DEEPEST} in each other."
        )
    return values


def _is_shallow(value: object) -> bool:
    """Whether nothing lies deeper than DEEPEST; looks no further than that."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return True
    return False
