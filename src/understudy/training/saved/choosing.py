"""Which saved state of a model is meant: the newest, the best on held-out faces, or that of an iteration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from understudy.errors import CorruptCheckpoint, MissingModel, UsageError
from understudy.records import BEST, NEWEST
from understudy.report import Report, silent
from understudy.training.saved.best import find_best
from understudy.training.saved.checkpoints import CheckpointStore

Read = TypeVar("Read")


def read_state(store: CheckpointStore, which: str, read: Callable[[Path], Read], report: Report = silent) -> Read:
    """What `read` makes of the saved state that is meant: newest, best, or an iteration as text.

    Of the newest, damaged ones are passed over with a warning. Raises MissingModel when there is no such state,
    UsageError for another word, and CorruptCheckpoint.
    """
    if which == NEWEST:
        found = store.first_whole(read, report)
        if found is None:
            raise store.never_saved()
        return found
    if which == BEST:
        return _best(store, read)
    if not which.isdigit():
        raise UsageError(
            f"There is no saved state called {which!r}.",
            hint=f"Choose {NEWEST}, {BEST}, or an iteration that was saved.",
        )
    return _of_iteration(store, int(which), read)


def _best(store: CheckpointStore, read: Callable[[Path], Read]) -> Read:
    best = find_best(store.model_folder)
    if best is None:
        raise MissingModel(
            f"No best state of {store.model_folder.name} is kept.",
            hint="Training keeps one where faces are held out (--hold-out): train on, or take the newest.",
            folder=store.model_folder,
        )
    try:
        return read(best.folder)
    except CorruptCheckpoint:
        if best.folder.is_dir():
            raise
        return _best(store, read)  # a training that goes on found a better one meanwhile


def _of_iteration(store: CheckpointStore, iteration: int, read: Callable[[Path], Read]) -> Read:
    there = store.generations()
    error: CorruptCheckpoint | None = None
    for generation in there:
        if int(generation.name) == iteration:
            try:
                return read(generation)
            except CorruptCheckpoint as damage:
                error = damage
    if error is not None:
        raise error
    known = ", ".join(str(number) for number in sorted({int(path.name) for path in there}))
    raise MissingModel(
        f"No state of iteration {iteration} of {store.model_folder.name} is kept.",
        hint=f"There are: {known}." if known else "The model has not been trained yet.",
        folder=store.model_folder,
    )
