"""What `faceset info` found, as lines of text for a person."""

from __future__ import annotations

from typing import Any

from understudy.stages.result import StageResult

MOST_SKIPPED = 20


def info_text(found: StageResult) -> str:
    """A faceset on one screen."""
    notes = found.notes
    megabytes = notes.get("bytes", 0) / 1e6
    packed = ", packed" if notes.get("packed") else ""
    lines = [f"{found.faces} faces in {found.outputs[0]} ({megabytes:.1f} MB{packed})"]
    for name, value in notes.items():
        if name not in ("bytes", "packed") and value not in (None, {}, []):
            lines.append(f"  {name.replace('_', ' '):22} {_words(name, value)}")
    lines += [f"  skipped {item.item}: {item.reason}" for item in found.skipped[:MOST_SKIPPED]]
    if len(found.skipped) > MOST_SKIPPED:
        lines.append(f"  … and {len(found.skipped) - MOST_SKIPPED} more; --json lists all")
    return "\n".join(lines)


def _words(name: str, value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    unit = "°" if name in ("yaw", "pitch") else " px" if name == "face_in_frame" else ""
    return ", ".join(f"{key} {amount}{unit}" for key, amount in value.items())
