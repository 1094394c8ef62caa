"""The end of a pretraining: the model goes on from what it has learned of faces, with two people (spec:
pretrained-and-generic, 3).

    kept       encoder and decoders, and the optimiser's moments of them; of XSeg everything
    anew       df: inter; liae: inter_AB and inter_B; the iteration, which is 0, and the losses
    put aside  saved states, backups, losses and pictures of the pretraining, in model/NAME/pretraining/

The new state is written beside the old ones first; that `model.json` says so is the moment at which pretraining has
ended. A crash before it finds pretraining still on, and after it what is left to be moved is moved by the next run.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

from understudy.files import TEMP_PREFIX, os_errors, sync_folder
from understudy.report import Note, Report, silent
from understudy.stages.model_start import BEGINS_ANEW, begins_anew, kept_moments, renewed, seed_in
from understudy.training.batches.samplers import seed_of
from understudy.training.history import CURVE_NAME
from understudy.training.history import FILE_NAME as HISTORY_NAME
from understudy.training.options import TrainOptions
from understudy.training.saved.checkpoints import Checkpoint, CheckpointStore
from understudy.training.saved.models import ModelRecord, write_record

ENDING = ".ending-"
"""How the folder is called of the state that a model goes on from, until it takes the place of its saved states; behind
it the name of the folder that those are put into."""

ASIDE = "pretraining"
"""Where the saved states of a pretraining are put; those of a second one into pretraining-2."""

PUT_ASIDE = ("checkpoints", "backups", "best", "damaged", HISTORY_NAME, "evaluation.jsonl", CURVE_NAME)
"""What of a model's folder belongs to its pretraining; pictures are drawn over."""


def end_if_turned_off(folder: Path, record: ModelRecord, options: TrainOptions, report: Report = silent) -> ModelRecord:
    """The record of a model that is about to be trained with these options, after pretraining ended if they end it.

    For the model's writer. Raises CorruptCheckpoint, DiskFull, ReadOnlyWorkspace.
    """
    if not record.pretraining or options.pretrain:
        finish_moving(folder, record)
        return record
    if record.model_class.lower() not in BEGINS_ANEW:
        report(Note(f"The option pretrain is ignored: {record.model_class} models have no pretraining."))
        return record.with_options({**record.options, "pretrain": False})
    for left_over in _ready(folder):
        shutil.rmtree(left_over, ignore_errors=True)  # of a run that was killed before the record said so
    found = CheckpointStore(folder).newest(report)
    if found is None:
        return record  # it was never saved: nothing to keep, nothing to begin anew
    anew = begins_anew(record.model_class, found.weights)
    faithful = record.imported if options.faithful is None else options.faithful
    aside = _free_name(folder)
    _write_first_state(folder / f"{ENDING}{aside}", record, found, anew, faithful=faithful)
    new = f"new: {', '.join(anew)}" if anew else "all that was learned stays"
    text = f"Pretraining ended at iteration {found.iteration}; {new}. Training begins at iteration 0."
    ended = record.with_options({**record.options, "pretrain": False}).with_event("pretrained", text)
    write_record(folder, ended)
    finish_moving(folder, ended)
    report(Note(f"{text} What was saved before is in {folder.name}/{aside}."))
    return ended


def finish_moving(folder: Path, record: ModelRecord) -> None:
    """Put aside what belongs to a pretraining that has ended, if a crash left that undone. For the model's writer."""
    for ready in () if record.pretraining else _ready(folder):
        target = folder / ready.name.removeprefix(ENDING)
        with os_errors(folder):
            target.mkdir(exist_ok=True)
            for name in PUT_ASIDE:
                if (folder / name).exists() and not (target / name).exists():
                    (folder / name).rename(target / name)
            ready.rename(folder / "checkpoints")
            sync_folder(folder)


def _write_first_state(ready: Path, record: ModelRecord, found: Checkpoint, anew: list[str], *, faithful: bool) -> None:
    """The state at iteration 0: the pretrained one with what is of two people as new. Moments of that stay in
    `faithful`, as in the reference, where they are of weights that no longer exist."""
    seed = seed_of(seed_in(record.options), found.iteration)  # another one than it began with: some never left that
    weights = renewed(record.model_class, record.config, found.weights, anew, seed=seed)
    moments = found.optimiser
    if moments is not None and not faithful:
        discriminators = {name: tensor for name, tensor in moments.items() if "/" in name}
        moments = {**(kept_moments(found, anew) or {}), **discriminators}
    scratch = ready.with_name(f"{TEMP_PREFIX}ending")
    shutil.rmtree(scratch, ignore_errors=True)
    store = CheckpointStore(scratch)
    store.save(
        0, weights=weights, optimiser=moments, state={"iteration": 0, "images": 0, "anew": [] if faithful else anew}
    )
    with os_errors(ready):
        store.folder.rename(ready)
    shutil.rmtree(scratch, ignore_errors=True)


def _ready(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{ENDING}*"))


def _free_name(folder: Path) -> str:
    """A name for the folder of what is put aside that nothing has yet."""
    names = itertools.chain([ASIDE], (f"{ASIDE}-{number}" for number in itertools.count(2)))
    return next(name for name in names if not (folder / name).exists())
