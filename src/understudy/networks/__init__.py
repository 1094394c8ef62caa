"""The networks, one readable file per family. Importing this package loads no network code (and no torch)."""

from __future__ import annotations

from typing import Any

__all__ = ["FAMILIES"]


def __getattr__(name: str) -> Any:
    if name == "FAMILIES":
        from understudy.networks.families import FAMILIES

        return FAMILIES
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
