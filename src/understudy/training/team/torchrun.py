"""What torchrun tells each of its processes; a module that loads in no time, for commands ask it first."""

from __future__ import annotations

import os
from collections.abc import Mapping

NAMES = ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


def rank_by_torchrun(environment: Mapping[str, str] = os.environ) -> int | None:
    """This process's number among those that torchrun started; None where there is only one, or none were."""
    if not set(NAMES) <= environment.keys() or environment["WORLD_SIZE"] == "1":
        return None
    return int(environment["RANK"])
