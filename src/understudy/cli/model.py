"""`understudy train` and `understudy model`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from understudy.cli.flags import flags
from understudy.cli.jobs import run_stage
from understudy.cli.run import schedules_device, train_by_schedule
from understudy.cli.train_along import heed_torchrun, train_along, train_along_phases
from understudy.errors import UsageError
from understudy.training.options import TrainOptions
from understudy.training.team.torchrun import rank_by_torchrun


@flags(TrainOptions, table="train")
def train(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The model; it is made when there is none of that name.")],
    schedule: Annotated[
        str | None,
        typer.Option(
            "--schedule",
            metavar="NAME|FILE",
            help="Train through the phases of a recipe: classic, default, or a TOML file. Options typed beside it hold "
            "in every phase.",
        ),
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Another value of a schedule's variable.")
    ] = None,
    *,
    options: TrainOptions,
) -> None:
    """Train a model; makes it when there is none of that name.

    Ctrl-C saves and stops; the same command goes on from there, exactly.
    """
    context.obj.workspace.model(name)  # a name that cannot be one is refused before anything heavy loads
    start = options.pretrained
    if start is not None and Path(start).name != start:
        options = options.model_copy(update={"pretrained": str(Path(start).absolute())})
    if options.pretrain_faces is not None:  # the model keeps it, and may be trained on from elsewhere
        options = options.model_copy(update={"pretrain_faces": options.pretrain_faces.expanduser().absolute()})
    if set_ and schedule is None:
        raise UsageError(
            "--set is for the variables of a schedule, and there is none.",
            hint="Add --schedule. What every run has: understudy train --help",
        )
    rank = rank_by_torchrun()
    if rank:
        if schedule is None:
            train_along(context.obj, options)
        else:
            device = schedules_device(name, schedule, set_ or [], options)
            train_along_phases(context.obj, device, options.team_timeout)
        return
    if rank is not None:
        heed_torchrun()
    if schedule is not None:
        train_by_schedule(context, name, schedule, set_ or [], options)
        return
    onward = ("train", name)  # the model keeps its options, also those changed while it trained
    run_stage(context.obj, "stages.train:train", f"Training of {name}", onward=onward, name=name, options=options)


ModelArgument = Annotated[str, typer.Argument(metavar="NAME", help="The model, as `model list` names it.")]
ClassOption = Annotated[
    str, typer.Option("--model", help="Its class (saehd, amp, …), where models of two classes share the name.")
]


def list_models(context: typer.Context) -> None:
    """List the models of the workspace.

    The one saved last comes first. Models in DeepFaceLab's files and .dfm files are listed too, and what cannot be
    used, with the reason.
    """
    from understudy.cli.model_tables import list_text
    from understudy.stages.models import list_models as find

    models = find(context.obj.workspace)
    context.obj.finish({"ok": True, "models": [model.as_json() for model in models]}, list_text(models))


def show(
    context: typer.Context,
    name: ModelArgument,
    batch_size: Annotated[
        int | None,
        typer.Option("--batch-size", min=1, max=512, help="Faces of each side to predict memory for; else its own."),
    ] = None,
    model: ClassOption = "",
) -> None:
    """Say what a model is: network, memory, work, how its training goes.

    Draws the loss curve. Memory is predicted, not taken: nothing is loaded.
    """
    from understudy.cli.model_tables import shown_text
    from understudy.stages.model_show import show_model

    with context.obj.progress() as report:
        result = show_model(context.obj.workspace, name, batch_size=batch_size, model_class=model, report=report)
    body = result.as_json()
    context.obj.finish(body, shown_text(body))


def rename(
    context: typer.Context,
    name: ModelArgument,
    new: Annotated[str, typer.Argument(metavar="NEW", help="Its new name.")],
    model: ClassOption = "",
) -> None:
    """Give a model another name.

    Of models in DeepFaceLab's files, only the files of that model and class are renamed, backups included.
    """
    from understudy.cli.model_tables import renamed_text
    from understudy.stages.model_manage import rename_model

    result = rename_model(context.obj.workspace, name, new, model_class=model)
    context.obj.finish(result.as_json(), renamed_text(result.notes))


def delete(
    context: typer.Context,
    name: ModelArgument,
    model: ClassOption = "",
    undo: Annotated[bool, typer.Option("--undo", help="Bring back the model of that name deleted last.")] = False,
) -> None:
    """Move a model to the trash, with a way back.

    --undo brings back the one of that name that was deleted last.
    """
    from understudy.cli.model_tables import deleted_text, restored_text
    from understudy.stages.model_manage import delete_model, restore_model

    if undo:
        result = restore_model(context.obj.workspace, name)
        context.obj.finish(result.as_json(), restored_text(result.notes))
        return
    result = delete_model(context.obj.workspace, name, model_class=model)
    context.obj.finish(result.as_json(), deleted_text(result.notes))


def copy(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="OLD",
            help="The model to copy: of this workspace, of the shared folder of pretrained models, or a path.",
        ),
    ],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The name of the copy.")],
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Start a new model from it: what it learned of faces stays, what it learned of two people begins "
            "anew, and iterations count from 0.",
        ),
    ] = False,
    model: ClassOption = "",
) -> None:
    """Copy a model, or start a new one from it with --fresh.

    Saved states are shared on the disk, so that a copy takes hardly any room. A model in DeepFaceLab's files is
    imported under the new name.
    """
    from understudy.cli.model_tables import copied_text
    from understudy.stages.model_copy import copy_model

    with context.obj.progress() as report:
        result = copy_model(context.obj.workspace, name, new, fresh=fresh, model_class=model, report=report)
    context.obj.finish(result.as_json(), copied_text(result.notes))


def evaluate(
    context: typer.Context,
    name: ModelArgument,
    checkpoint: Annotated[
        str,
        typer.Option("--checkpoint", help="Saved state to measure: newest, best, or an iteration that is still kept."),
    ] = "newest",
    device: Annotated[str, typer.Option("--device", help="Where the network runs: auto, cpu, cuda:0, mps.")] = "auto",
    faces: Annotated[
        int, typer.Option("--faces", min=2, max=4096, help="Faces of each side to measure at most.")
    ] = 256,
) -> None:
    """Measure a model on the faces that it never learned from.

    Losses, sharpness and masks of both people redrawn, and of the swap likeness, expression, pose and flicker.
    """
    from understudy.cli.evaluation_tables import evaluation_text
    from understudy.stages.model_evaluate import evaluate_model

    with context.obj.progress() as report:
        result = evaluate_model(
            context.obj.workspace, name, checkpoint=checkpoint, device=device, most=faces, report=report
        )
    context.obj.finish(result.as_json(), evaluation_text(result.notes))
