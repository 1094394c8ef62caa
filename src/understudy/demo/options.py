"""What can be chosen about the demo. Imports neither cv2 nor torch."""

from __future__ import annotations

from understudy.options import Options, option


class DemoOptions(Options):
    """How long the demo may take and how much of everything it makes."""

    minutes: float = option(
        14.0, "Time for all of it, installing included; training gets what the rest leaves.", group="Demo",
        unit="min", gt=0, le=24 * 60,
    )  # fmt: skip
    iterations: int = option(
        0, "Train this many iterations, whatever the time; 0: as many as fit.", group="Demo", unit="iterations", ge=0
    )
    seconds: float = option(8.0, "Length of each clip.", group="Demo", unit="s", ge=0.4, le=120)
    seed: int = option(1, "Start of all random draws: other seeds move otherwise.", group="Demo", ge=0, le=2**31 - 1)
    batch_size: int = option(2, "Faces of each side in an iteration.", group="Demo", ge=1, le=64)
