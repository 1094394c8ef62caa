"""What a training keeps and shows."""

from __future__ import annotations

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
    keep_checkpoints: int = option(
        3, "Newest saved states that are kept to fall back on.", group="Saving", ge=1, le=100, live=True
    )
    preview_every: int = option(
        100, "Draw the preview pictures this often; 0 draws none.", group="Preview", unit="iterations", ge=0, live=True
    )
    write_preview_history: bool = option(
        False, "Keep every preview picture, not only the newest.", group="Preview", live=True
    )
