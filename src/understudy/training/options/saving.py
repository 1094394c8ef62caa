"""What a training keeps and shows."""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from understudy.options import Options, option


class SavingOptions(Options):
    """Saved states, backups and previews."""

    save_minutes: float = option(
        10.0, "Save this often; a crash costs at most this much.", group="Saving", unit="min", gt=0, live=True
    )
    autobackup_hour: int = option(
        0,
        "Keep an extra copy of the model every so many hours; 0 keeps none.",
        group="Saving",
        unit="h",
        ge=0,
        le=24,
        live=True,
    )
    keep_backups: int = option(
        24, "Newest backups that are kept; each is as large as a saved state.", group="Saving", ge=1, le=1000, live=True
    )
    keep_checkpoints: int = option(
        3, "Newest saved states that are kept to fall back on.", group="Saving", ge=1, le=100, live=True
    )
    preview_every: int = option(
        100, "Draw the preview pictures this often; 0 draws none.", group="Preview", unit="iterations", ge=0, live=True
    )
    preview_faces: tuple[str, ...] = option(
        (),
        "Faces that the previews show, by their names, parted by commas; src/NAME or dst/NAME where both sides have "
        "one of that name. Not given: a few spread over each faceset.",
        group="Preview",
        live=True,
    )
    write_preview_history: bool = option(
        False,
        "Keep a series of preview pictures, each with the losses up to then, in previews/NAME/.",
        group="Preview",
        live=True,
    )
    preview_history_every: int | None = option(
        None,
        "Add to that series this often. Not given: every 10 iterations for each 64 px of the resolution.",
        group="Preview",
        unit="iterations",
        ge=1,
        live=True,
    )
    preview_history_keep: int = option(
        1000,
        "Pictures that such a series may have; with more, it is thinned out evenly.",
        group="Preview",
        unit="pictures",
        ge=2,
        le=1_000_000,
        live=True,
    )

    @field_validator("preview_faces", mode="before")
    @classmethod
    def _parted(cls, value: Any) -> Any:
        """Names may be parted by commas."""
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            return value
        return tuple(name for part in parts for typed in part.split(",") if (name := typed.strip()))
