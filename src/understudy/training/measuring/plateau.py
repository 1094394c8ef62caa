"""When nothing gets better any more: read off the evaluations, so that a resumed training counts on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from understudy.training.measuring.scores import Scores

LEAST_GAIN = 0.002
"""A held-out loss counts as better when it is lower than the best so far by this share of it; less is noise."""

NOT_OF_THE_COURSE = (
    *("target_iter", "hold_out", "evaluate_every", "plateau", "save_minutes", "autobackup_hour", "keep_checkpoints"),
    *("keep_backups", "preview_every", "preview_faces"),
    *("write_preview_history", "preview_history_every", "preview_history_keep"),
    *("device", "devices", "threads", "models_opt_on_gpu", "shard", "team_timeout", "cache_gb", "compile"),
    *("guard", "checkpointing"),
)
"""Options that change nothing about how a model learns."""


def course_of(options: Mapping[str, Any]) -> str:
    """What stands for a way of training: equal for options (JSON values) that train alike.

    Where one that matters changes, another phase begins, and what was best before it is no measure for it.
    """
    those = {name: value for name, value in options.items() if name not in NOT_OF_THE_COURSE}
    body = json.dumps(those, sort_keys=True, default=str)
    return hashlib.sha256(body.encode()).hexdigest()[:8]


def without_gain(evaluations: Iterable[Scores], course: str) -> int:
    """How many evaluations there were since the last better one, in the phase that goes on now.

    The phase is the last evaluations whose course is `course`, without one of another between them.
    """
    best: float | None = None
    count = 0
    for scores in evaluations:
        if scores.course != course:
            best, count = None, 0
        elif best is None or scores.loss < best * (1 - LEAST_GAIN):
            best, count = scores.loss, 0
        else:
            count += 1
    return count


def at_plateau(evaluations: Iterable[Scores], course: str, patience: int) -> bool:
    """Whether `patience` evaluations in a row brought nothing better; never with a patience of 0."""
    return patience > 0 and without_gain(evaluations, course) >= patience
