"""Options that do something only beside another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from understudy.options import Options

NEEDS: Mapping[str, tuple[str, Any]] = {
    "gan_patch_size": ("gan_power", 0),
    "gan_dims": ("gan_power", 0),
    "preview_history_every": ("write_preview_history", False),
    "preview_history_keep": ("write_preview_history", False),
    "lr_from": ("lr_schedule", "constant"),
    "plateau": ("evaluate_every", 0),
}
"""Options that do something only beside another one, with the value at which that one lets them sleep."""


def without_effect(options: Options, names: Iterable[str]) -> list[str]:
    """A sentence for each of these options that changes nothing as long as another one stays as it is."""
    return [
        f"{name} has no effect as long as {other} is {_told(getattr(options, other))}."
        for name, (other, asleep) in NEEDS.items()
        if name in names and getattr(options, other) == asleep
    ]


def _told(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
