"""The demo: footage made from two portraits, the whole pipeline over it, and a judgement by its known truth."""

from __future__ import annotations

__all__: list[str] = []
