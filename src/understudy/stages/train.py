"""Train a model on the two facesets of a workspace."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from understudy.devices import device_named
from understudy.errors import Interrupted, InvalidOption, UsageError
from understudy.interop.flat import find_flat_model
from understudy.interop.flat_names import XSEG
from understudy.networks.families import config_to_plain
from understudy.report import Note, Report, Stop, never, silent
from understudy.stages.flat_import import import_flat
from understudy.stages.model_start import pretrained_record, start_from_pretrained
from understudy.stages.models import RESERVED_NAMES
from understudy.stages.pretraining import end_if_turned_off
from understudy.stages.result import StageResult
from understudy.stages.task_faces import task_faces
from understudy.stages.train_faces import Faces, pretraining_faces
from understudy.stages.train_memory import cuts_for_memory
from understudy.stages.train_team import shared_out, team_for
from understudy.training.applying import say_of_compiling
from understudy.training.changes import changed
from understudy.training.commands import Commands
from understudy.training.faces.bank import FaceBank
from understudy.training.loop import train_loop
from understudy.training.memory.shortage import told_of_shortage
from understudy.training.opening import open_session
from understudy.training.options import OVERRIDDEN, ModelClass, TrainOptions, flag_of
from understudy.training.options.needs import without_effect
from understudy.training.previews.preview_choice import chosen_faces
from understudy.training.recipes import config_from_plain, recipe_for
from understudy.training.requirements import require_options_that_fit
from understudy.training.saved.model_config import new_config, require_same_config
from understudy.training.saved.models import (
    ModelRecord,
    is_model,
    new_record,
    newest_iteration,
    read_record,
    write_record,
)
from understudy.training.saved.new import create_model
from understudy.training.session import Session
from understudy.training.state import Ended
from understudy.training.team.following import send_state
from understudy.workspace import Workspace

ROOMY = 4 * 10**9
"""Bytes of memory from which a graphics card gets the larger first batch, as in the reference."""

MEAN_OVER = 100
"""Iterations over which the losses of the result are averaged."""


def train(
    workspace: Workspace,
    name: str,
    options: TrainOptions = TrainOptions(),
    *,
    report: Report = silent,
    stop: Stop = never,
    commands: Commands | None = None,
) -> StageResult:
    """Train the model `name`, made on its first run, up to the target iteration or until stopped, and save it.

    Options that are not given keep the values of the model's last run. Flat files of the reference that have this name
    are imported first and left as they are. `commands`: what people ask of it while it runs.
    Raises EmptyFaceset, Busy when another process trains the model, CorruptCheckpoint, TrainingDiverged, DiskFull,
    OutOfMemory, and Interrupted after `stop`, with everything saved.
    """
    folder = workspace.model(name)
    masks = is_model(folder) and read_record(folder).model_class == XSEG
    if name in RESERVED_NAMES or options.model is ModelClass.XSEG or masks:
        raise UsageError(
            f"{name} is the mask network, which has its own command."
            if name in RESERVED_NAMES
            else "Mask networks have their own command.",
            hint=f"Train it with: understudy xseg train{'' if name in RESERVED_NAMES else f' {name}'}",
        )
    return train_model(workspace, name, options, report=report, stop=stop, commands=commands)


@told_of_shortage()
def train_model(
    workspace: Workspace,
    name: str,
    options: TrainOptions,
    *,
    report: Report = silent,
    stop: Stop = never,
    commands: Commands | None = None,
) -> StageResult:
    """Train a model of any class. Raises as `train` does."""
    folder, started = workspace.model(name), time.perf_counter()
    with workspace.writing(f"model-{name}"), contextlib.ExitStack() as running:
        record = _existing(workspace, folder, options, report)
        resolved = on_this_machine(record, resolve(record, options), options, report)
        recipe = recipe_for(record.model_class)
        config = config_from_plain(recipe, record.config)
        require_options_that_fit(config, resolved)
        for sentence in without_effect(resolved, options.model_fields_set):
            report(Note(sentence))
        if resolved.pretrain:
            pretraining_faces(resolved)  # refused before anything is made
        if is_model(folder):
            record = end_if_turned_off(folder, record, resolved, report)
        record = _holding_out(workspace, folder, record, resolved, report)
        fabric, team = running.enter_context(team_for(workspace, record, resolved))
        resolved = shared_out(resolved, team, report)
        supply = running.enter_context(task_faces(record).supply(workspace, record))
        faces = supply.load(resolved, report, stop)
        if "preview_faces" in options.model_fields_set:
            chosen_faces(options.preview_faces, recipe.task.names_to_choose((faces.src, faces.dst)))
        if not is_model(folder):
            _make(workspace, folder, record, resolved, report)
            record = replace(read_record(folder), held_out=record.held_out)
        cuts = cuts_for_memory(record, resolved, str(fabric.device), processes=team.size, report=report)
        session = open_session(folder, record, resolved, faces.src, faces.dst, fabric=fabric, team=team, report=report)
        if not resolved.pretrain:
            measure = task_faces(record).evaluator
            session.make_evaluator = lambda: measure(workspace, record, session, report, stop)
            session.evaluator = session.make_evaluator() if resolved.evaluate_every else None

        def load_faces(wanted: TrainOptions) -> tuple[FaceBank, FaceBank]:
            found = supply.load(wanted, report)
            return found.src, found.dst

        session.load_faces = load_faces
        session.look_again = lambda: supply.look_again(session.options, report)
        session.learner.cuts = max(cuts, session.learner.cuts)
        # Now that they have proved to work here; what is not known here is kept for the way back.
        write_record(folder, record.with_options({**record.options, **resolved.stored()}))
        send_state(session, session.state)
        session.share_out()
        report(Note(_opening(name, session, faces, task_faces(record).title)))
        say_of_compiling(resolved, report)
        before = session.state.iteration
        trained_from = time.perf_counter()
        with _listening(commands, name, session):
            state, ended = train_loop(
                session, report=report, stop=lambda: stop() or team.stop_wanted, commands=commands
            )
        if session.evaluator is not None:
            session.evaluator.draw(state.iteration, report)
        seconds = time.perf_counter() - trained_from
    if ended is Ended.STOPPED:
        raise Interrupted(
            f"Training of {name} stopped at iteration {state.iteration}; everything is saved.",
            hint="Train it again, and it goes on from there.",
            iteration=state.iteration,
        )
    if state.iteration == before:
        report(
            Note(
                f"{name} is at iteration {state.iteration} already; train on with a greater --target-iter, "
                "or --target-iter 0 to train until stopped.",
                "warning",
            )
        )
    return StageResult(
        faces=len(faces.src) + (0 if resolved.pretrain else len(faces.dst)),
        skipped=faces.skipped,
        seconds=time.perf_counter() - started,
        rate=(state.iteration - before) / seconds if state.iteration > before else None,
        outputs=[folder],
        notes={
            "model": name,
            "class": record.model_class,
            "iteration": state.iteration,
            "ended": str(ended),
            "losses": {key: round(value, 5) for key, value in session.history.means(MEAN_OVER).items()},
        },
    )


def resolve(record: ModelRecord, typed: TrainOptions) -> TrainOptions:
    """Defaults, those of the class, the options of the model's last run, and those given now, the last one counting.

    The class is the model's own, and so are options that it leaves no choice of. Raises InvalidOption when one of those
    was given.
    """
    recipe = recipe_for(record.model_class)
    defaults = {name: getattr(TrainOptions(), name) for name in TrainOptions.model_fields}
    fixed = recipe.fixed(config_from_plain(recipe, record.config))
    for name in typed.model_fields_set & set(fixed):
        if getattr(typed, name) != fixed[name]:
            raise InvalidOption(
                f"{_typed(name, getattr(typed, name))} cannot be: {_kind_of(record)} always train with "
                f"{_typed(name, fixed[name]) if isinstance(fixed[name], bool) else fixed[name]}.",
                hint="Leave it out, or train a model of another kind.",
            )
    before = {name: value for name, value in record.options.items() if name in defaults}
    own = {"model": record.model_class.lower(), **fixed}
    return TrainOptions.of(**{**defaults, **recipe.defaults, **before, **typed.model_dump(), **own})


def _typed(name: str, value: Any) -> str:
    """An option with its value as one types it: `--gan-power 0.1`, `--no-clipgrad`."""
    if isinstance(value, bool):
        return flag_of(name) if value else flag_of(f"no_{name}")
    return f"{flag_of(name)} {value}"


def on_this_machine(record: ModelRecord, resolved: TrainOptions, typed: TrainOptions, report: Report) -> TrainOptions:
    """The options with a device that is there, since the model's last run may have been on another machine, and with
    the batch that a new model begins with on it.

    Raises InvalidOption when a device that is not there was asked for now.
    """
    try:
        device = device_named(resolved.device)
    except InvalidOption:
        if "device" in typed.model_fields_set:
            raise
        report(Note(f"{resolved.device}, used last time, is not here: another device is chosen.", "warning"))
        return resolved.but(device="auto")
    roomy = device.kind != "cpu" and device.memory >= ROOMY
    batch = recipe_for(record.model_class).batch_on_gpu if roomy else 0
    if batch and "batch_size" not in {*typed.model_fields_set, *record.options}:
        return resolved.but(batch_size=batch)
    return resolved


def _holding_out(
    workspace: Workspace, folder: Path, record: ModelRecord, options: TrainOptions, report: Report
) -> ModelRecord:
    """The record with what is held out of the facesets; of many people, in pretraining, nothing is."""
    if options.pretrain:
        return record
    decide = task_faces(record).decide
    return decide(workspace, record, options, iteration=newest_iteration(folder) or 0, report=report)


def _existing(workspace: Workspace, folder: Path, typed: TrainOptions, report: Report) -> ModelRecord:
    """The record of the model: its own, of flat files imported now, or of one that is still to be made."""
    if not is_model(folder):
        flat = find_flat_model(workspace.models, folder.name)
        if flat is not None:
            import_flat(folder, flat, report=report)
    if not is_model(folder):
        return _new_record(workspace, typed, report)
    record = read_record(folder)
    if "model" in typed.model_fields_set and typed.model != record.model_class.lower():
        raise UsageError(
            f"The model {folder.name} is of the class {record.model_class}, which cannot change.",
            hint=f"Leave --model out, or start another one: understudy train NAME --model {typed.model}",
        )
    require_same_config(record, typed)
    if typed.pretrained is not None:
        report(Note("--pretrained is for new models; this one goes on from its own weights.", "warning"))
    return record


def _new_record(workspace: Workspace, typed: TrainOptions, report: Report) -> ModelRecord:
    """What a model that is still to be made will be: as the options say, or as the trained one that it starts from."""
    if typed.pretrained is None:
        return new_record(recipe_for(typed.model).model_class, config_to_plain(new_config(typed, report)))
    wanted = str(typed.model) if "model" in typed.model_fields_set else ""
    record = pretrained_record(workspace, typed.pretrained, wanted)
    require_same_config(record, typed)
    return record


def _make(workspace: Workspace, folder: Path, record: ModelRecord, options: TrainOptions, report: Report) -> None:
    if options.pretrained is not None:
        start_from_pretrained(workspace, folder.name, options.pretrained, model_class=record.model_class, report=report)
    else:
        create_model(
            folder, record.model_class, config=config_from_plain(recipe_for(record.model_class), record.config)
        )


def _kind_of(record: ModelRecord) -> str:
    archi = str(record.config.get("archi", "")).partition("-")[0]
    return f"{' '.join(filter(None, [record.model_class, archi]))} models"


@contextlib.contextmanager
def _listening(commands: Commands | None, name: str, session: Session) -> Iterator[None]:
    """Accept commands while the block runs."""
    if commands is None:
        yield
        return
    fixed = session.recipe.fixed(session.config)

    def check(now: TrainOptions, given: Mapping[str, Any]) -> TrainOptions:
        after = changed(now, given, fixed, session.config)
        if after.preview_faces != now.preview_faces:
            chosen_faces(after.preview_faces, session.recipe.task.names_to_choose(session.batches.banks))
        return after

    commands.attend(name, session.options, check)
    try:
        yield
    finally:
        commands.leave()


def _opening(name: str, session: Session, faces: Faces, kind: str) -> str:
    held = ", ".join(f"{count} {side}" for side, count in faces.held_out.items() if count)
    if session.options.pretrain:
        return (
            f"Pretraining {name} ({session.recipe.model_class}) from iteration {session.state.iteration} on "
            f"{len(faces.src)} faces, {session.precision.dtype} on {session.fabric.device}. {_overridden(session)}"
        ).strip()
    return (
        f"Training {name} ({session.recipe.model_class}) from iteration {session.state.iteration} on "
        f"{len(faces.src)} {kind}src and {len(faces.dst)} dst faces"
        + (f" (held out: {held})" if held else "")
        + f", {session.precision.dtype} on {session.fabric.device}."
    )


def _overridden(session: Session) -> str:
    """What options wait for the end of pretraining."""
    stored, in_force = session.options, session.options.in_force
    waiting = [name for name in OVERRIDDEN if getattr(stored, name, None) != getattr(in_force, name, None)]
    return f"Not in force meanwhile: {', '.join(_typed(name, getattr(stored, name)) for name in waiting)}." * bool(
        waiting
    )
