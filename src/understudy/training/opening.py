"""Opening a session: a model as it was last saved, or from its initial weights, with everything that training needs."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from understudy.errors import CorruptCheckpoint, UsageError
from understudy.networks.families import Config
from understudy.records import PrecisionChoice
from understudy.report import Note, Report, silent
from understudy.training.applying import discriminators_of, precision_of, say_of_precision
from understudy.training.batches.protocol import Batches
from understudy.training.faces.bank import FaceBank
from understudy.training.history import FILE_NAME as HISTORY_NAME
from understudy.training.history import History
from understudy.training.learning.guard import Guard
from understudy.training.learning.learner import Learner, prepare
from understudy.training.learning.precision import Precision, machine
from understudy.training.options import TrainOptions
from understudy.training.previews.preview import rows_for
from understudy.training.previews.preview_choice import Names, preview_names
from understudy.training.recipes import Recipe, config_from_plain, recipe_for
from understudy.training.saved.checkpoints import Checkpoint, CheckpointStore
from understudy.training.saved.learner_state import AtRest, restore
from understudy.training.saved.models import ModelRecord
from understudy.training.saved.weights import load_weights
from understudy.training.session import Session
from understudy.training.state import TrainState
from understudy.training.team.team import ALONE, Team


def open_session(
    folder: Path,
    record: ModelRecord,
    options: TrainOptions,
    src: FaceBank,
    dst: FaceBank,
    *,
    fabric: Fabric,
    team: Team = ALONE,
    report: Report = silent,
) -> Session:
    """Put together the training of a model as it was last saved, or from its initial weights.

    What the checkpoint says about precision and threads is kept, so that the run continues bit for bit on the same
    machine, unless the options or the device ask for something else.
    Raises CorruptCheckpoint when no saved state is whole, IncompatibleModel when they do not fit model.json.
    """
    store = CheckpointStore(folder, keep=options.keep_checkpoints, backups_kept=options.keep_backups)
    store.tidy()
    found = store.newest(report)
    if found is not None:
        store.set_aside_after(found.iteration)
    precision = _precision(found, options, fabric.device, report)
    history = _history(folder / HISTORY_NAME, found, report)
    return _put_together(record, options, src, dst, store, found, history, precision, fabric, team, report)


def join_session(
    record: ModelRecord,
    options: TrainOptions,
    src: FaceBank,
    dst: FaceBank,
    found: Checkpoint,
    *,
    fabric: Fabric,
    team: Team,
) -> Session:
    """The same training in one more process: as the first one's state `found` says, without files of the model.

    Raises UsageError when this process has other faces than the first.
    """
    for side, bank in (("src", src), ("dst", dst)):
        if found.state["faces"][side] != bank.digest:
            raise UsageError(
                f"The {side} faces here are not those of the first process.",
                hint="Every machine needs the same facesets: a shared disk, or copies of one state.",
            )
    history, store = History(found.folder / HISTORY_NAME), CheckpointStore(found.folder)
    precision = Precision.of(found.state["precision"])
    return _put_together(record, options, src, dst, store, found, history, precision, fabric, team, silent)


def _put_together(
    record: ModelRecord,
    options: TrainOptions,
    src: FaceBank,
    dst: FaceBank,
    store: CheckpointStore,
    found: Checkpoint | None,
    history: History,
    precision: Precision,
    fabric: Fabric,
    team: Team,
    report: Report,
) -> Session:
    """A session of a model, as a saved state says or with initial weights."""
    folder, recipe = store.model_folder, recipe_for(record.model_class)
    config = config_from_plain(recipe, record.config)
    faithful = record.imported if options.faithful is None else options.faithful
    in_force = options.in_force
    learner = _learner(recipe, config, in_force, found, precision, fabric.device, faithful=faithful)
    at_rest = AtRest() if found is None else restore(learner, found, report)
    if team.leads:
        _warn_of_a_small_disk(folder, learner.net, report)
    learner.reduce = None if team.alone else team.reduce
    learner.member, learner.members = team.rank, team.size
    learner.cuts = 1 if found is None else int(found.state.get("cuts", 1))
    batches = recipe.task.batches(recipe, in_force, (src, dst), fabric.device, faithful=faithful)
    batches.part = team.part
    faces = {"src": src.digest, "dst": dst.digest}
    state = TrainState() if found is None else _restore_batches(found, batches, faces, report)
    learner.seed, guard = batches.seed, Guard()
    guard.load_state_dict({} if found is None else found.state.get("guard", {}))
    learner.calm, learner.calm_until = guard.calm, guard.calm_until
    names = _names_to_show(found, options, recipe.task.known_names((src, dst)), rows_for(src.size), report)
    return Session(
        folder,
        options,
        fabric,
        recipe,
        config,
        record.imported,
        learner,
        at_rest,
        batches,
        precision,
        store,
        history,
        recipe.task.faces_to_show((src, dst), names, batches, fabric.device),
        names,
        faces,
        state,
        is_new=found is None,
        _saved_at=-1 if found is None else state.iteration,
        _drawn_at=-1 if found is None else state.iteration,
        team=team,
        guard=guard,
    )


def _learner(
    recipe: Recipe,
    config: Config,
    options: TrainOptions,
    found: Checkpoint | None,
    precision: Precision,
    device: torch.device,
    *,
    faithful: bool,
) -> Learner[Any]:
    """The networks with their optimisers; the swapper with its saved weights, the rest as if it were new."""
    seed = options.seed
    net = recipe.begin(config, options, seed=seed)
    if found is not None:
        load_weights(net, found)
    prepare(net, precision, device)
    learner = recipe.task.learner(
        net,
        recipe.optimiser(net, options, precision, seed=seed),
        recipe.objective(config, options, faithful),
        discriminators_of(recipe, config, options, precision, device, seed=seed),
        seed,
    )
    recipe.configure(learner, options)
    return learner


def _history(path: Path, found: Checkpoint | None, report: Report) -> History:
    """The history up to the checkpoint; what was trained after it is trained again."""
    if found is None:
        return History.open(path, until=0)
    history = History.open(path, until=found.iteration)
    lost = int(found.state.get("history", 0)) - len(history)
    if lost > 0:
        report(Note(f"The losses of {lost} iterations are missing from {path.name}; the curve has a gap.", "warning"))
    return history


def _warn_of_a_small_disk(folder: Path, net: nn.Module, report: Report) -> None:
    """Say so when the next saved state hardly fits; the weights and one moment for each of them."""
    needed = 2 * sum(weight.numel() * weight.element_size() for weight in net.parameters())
    free = shutil.disk_usage(folder).free
    if free < 2 * needed:
        report(
            Note(
                f"A saved state of this model takes {needed / 1e6:.0f} MB and the disk has {free / 1e6:.0f} MB free: "
                "make room, or older states are dropped to keep the newest.",
                "warning",
            )
        )


def _precision(found: Checkpoint | None, options: TrainOptions, device: torch.device, report: Report) -> Precision:
    """How to compute: as before where that is possible and not asked otherwise, else as this machine does best."""
    stored = None if found is None else found.state.get("precision")
    if (
        found is None
        or not stored
        or found.state.get("machine") != machine()
        or found.state.get("device") != device.type
    ):
        return precision_of(options, device)
    before = Precision.of(stored)
    asked = options.precision is not PrecisionChoice.AUTO or options.threads
    if not asked:
        return before
    now = precision_of(options, device)
    say_of_precision(before, now, report)
    return now


def _restore_batches(found: Checkpoint, batches: Batches, faces: Mapping[str, str], report: Report) -> TrainState:
    """Go on drawing faces where a checkpoint was taken; where training is then."""
    if "batches" in found.state:
        try:
            batches.load_state_dict(found.state["batches"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CorruptCheckpoint(
                f"The saved state {found.folder.name} does not say where in the facesets it was: {error!r}.",
                hint="Move it away, and training goes on from the one before: it is in checkpoints/ of the model.",
                folder=found.folder,
            ) from error
    for side, before in found.state.get("faces", {}).items():
        if before != faces[side]:
            report(Note(f"The {side} faceset is not the one that was trained on before; its faces are dealt anew."))
    return TrainState(found.iteration, int(found.state.get("images", 0)))


def _names_to_show(
    found: Checkpoint | None, options: TrainOptions, known: Names, rows: int, report: Report
) -> dict[str, list[str]]:
    """The faces that previews show: those asked for, else those of the saved state."""
    state = {} if found is None else found.state
    asked_before = tuple(state.get("options", {}).get("preview_faces", ()))
    before = state.get("preview_faces", {}) if asked_before == options.preview_faces else {}
    return preview_names(options.preview_faces, before, known, rows, report)
