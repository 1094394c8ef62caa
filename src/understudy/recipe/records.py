"""A recipe as records: what is to be done, judged and with every variable replaced."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PATIENCE = 10
"""Evaluations without a better held-out loss, where `end = "plateau"` says no number."""

NOT_OF_THE_RESULT = frozenset(
    {
        *("device", "devices", "workers", "threads", "shard", "team_timeout", "cache_gb", "compile"),
        *("models_opt_on_gpu", "checkpointing"),
        *("save_minutes", "autobackup_hour", "keep_checkpoints", "keep_backups", "preview_every", "preview_faces"),
        *("write_preview_history", "preview_history_every", "preview_history_keep"),
    }
)
"""Options that say where and how something is computed or shown: another value makes nothing that is done stale."""


@dataclass(frozen=True)
class End:
    """When a phase ends: at what comes first. 0: not by that.

    iterations: of this phase. plateau: evaluations without a better held-out loss. minutes: of training in this phase.
    """

    iterations: int = 0
    plateau: int = 0
    minutes: float = 0.0

    @property
    def text(self) -> str:
        """Such as `20,000 iterations or a plateau`."""
        ways = [f"{self.iterations:,} iterations"] if self.iterations else []
        ways += [f"a plateau ({self.plateau} evaluations)"] if self.plateau else []
        ways += [f"{self.minutes:g} minutes"] if self.minutes else []
        return " or ".join(ways) or "when stopped"


@dataclass(frozen=True)
class Phase:
    """A part of a training. options: those that this phase names. on: whether it is wanted."""

    name: str
    options: Mapping[str, Any]
    end: End
    about: str = ""
    copy_as: str = ""
    on: bool = True
    line: int = 1


@dataclass(frozen=True)
class Training:
    """A course of phases on one model.

    new: options that only a model has that is still to be made. common: options of every phase, unless it names them
    itself. typed: options from the command line, which win over all others.
    """

    model: str
    phases: tuple[Phase, ...]
    new: Mapping[str, Any] = field(default_factory=dict)
    common: Mapping[str, Any] = field(default_factory=dict)
    typed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def named(self) -> list[str]:
        """Every option that some phase names: each holds for that phase only."""
        return sorted({name for phase in self.phases for name in phase.options})


@dataclass(frozen=True)
class Step:
    """One stage with its arguments by parameter name and its options by field name; or a training with its phases."""

    id: str
    stage: str
    title: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Training | None = None
    on: bool = True
    line: int = 1


@dataclass(frozen=True)
class Recipe:
    """What a recipe file says. folder: where its paths count from. footage: files by side, as absolute paths."""

    name: str
    steps: tuple[Step, ...]
    title: str = ""
    about: str = ""
    text: str = ""
    folder: Path = Path()
    workspace: Path | None = None
    footage: Mapping[str, Path] = field(default_factory=dict)
    variables: Mapping[str, Any] = field(default_factory=dict)


def digest(*parts: Any) -> str:
    """16 letters that tell these plain values from others."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()[:16]


def of_the_result(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that decide what comes out."""
    return {name: value for name, value in options.items() if name not in NOT_OF_THE_RESULT}
