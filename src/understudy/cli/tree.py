"""Every command by name. A command's module is imported when the command is used, so that --help stays quick."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, cast

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group


@dataclass(frozen=True)
class Leaf:
    """One command: "module:function" inside understudy.cli, and the line that describes it in lists."""

    target: str
    help: str


@dataclass(frozen=True)
class Branch:
    """A group of commands about one thing."""

    help: str
    commands: Mapping[str, Leaf] = field(default_factory=dict)


TREE: dict[str, Leaf | Branch] = {
    "init": Leaf("folder:init", "Make a workspace: the folder that holds everything about one job."),
    "status": Leaf("folder:status", "Show what is in the workspace, what runs, and what comes next."),
    "video": Branch(
        "Footage: look at it, cut it into frames, deliver the result.",
        {
            "probe": Leaf(
                "video:probe", "Say what a video file or a folder of pictures is, and what is wrong with it."
            ),
            "cut": Leaf("video:cut", "Write a part of a video beside it, with its times, colours, timecode and sound."),
            "frames": Leaf("video:frames", "Cut the footage of one side into numbered frames."),
            "denoise": Leaf("video:denoise", "Take the noise out of the frames of one side."),
            "shots": Leaf("video:shots", "Find the cuts in the footage of one side, and list its shots."),
            "encode": Leaf("video:encode", "Make a video of the merged frames, with the sound and timing of the dst."),
        },
    ),
    "faceset": Branch(
        "Faces: find them in the frames and look after them.",
        {
            "extract": Leaf("faceset:extract", "Find the faces of one side and cut them out, aligned."),
            "review": Leaf("review:review", "List the frames and faces that are worth a second look, worst first."),
            "realign": Leaf("review:realign", "Put the face of one frame right, or search many frames again."),
            "persons": Leaf(
                "persons:persons",
                "Tell the people of a faceset apart: list, find, merge, rename, split, keep or drop them.",
            ),
            "sort": Leaf("sort:sort", "Put the faces in an order and name them 00000.jpg, 00001.jpg, … in it."),
            "dedupe": Leaf(
                "persons:dedupe", "Move faces that show the same as a sharper one to the trash, with a way back."
            ),
            "trash": Leaf("review:trash", "Take faces out by what is known of them; undo brings them back."),
            "undo": Leaf("sort:undo", "Bring back what the last change of a faceset renamed, moved or replaced."),
            "coverage": Leaf("review:coverage", "Say what src has too little of for the dst; draws a picture."),
            "enhance": Leaf("enhance:enhance", "Give the soft faces of a faceset the detail of its sharp ones."),
            "info": Leaf("faceset_tools:info", "Count the faces of a faceset and say what they are like."),
            "pack": Leaf("faceset_tools:pack", "Put all faces into one file, faceset.pak."),
            "unpack": Leaf("faceset_tools:unpack", "Take the faces out of faceset.pak again."),
            "resize": Leaf("faceset_tools:resize", "Bring the faces to another picture size or face type."),
            "restore-names": Leaf(
                "faceset_tools:restore_names", "Name the faces after their frames again, as they were before sorting."
            ),
            "save-meta": Leaf(
                "faceset_tools:save_meta",
                "Save the data of all faces to meta.dat, before editing the pictures elsewhere.",
            ),
            "restore-meta": Leaf("faceset_tools:restore_meta", "Give the pictures the data back that meta.dat holds."),
            "draw-landmarks": Leaf(
                "faceset_tools:draw_landmarks", "Draw the landmarks of each face on a copy beside it, NAME_debug.jpg."
            ),
            "export-masks": Leaf(
                "faceset_tools:export_masks", "Write the mask of each face as a picture beside it, NAME_mask.jpg."
            ),
            "import-png": Leaf("faceset_tools:import_png", "Take over faces of DeepFaceLab 1, which were PNG files."),
        },
    ),
    "xseg": Branch(
        "Masks: the network that tells what of a face is face.",
        {"train": Leaf("xseg:train", "Train the mask network on the faces that are labelled.")},
    ),
    "train": Leaf("model:train", "Train a model; makes it when there is none of that name."),
    "train-control": Leaf(
        "train_control:train_control", "Change options of a training that runs, save, draw, pause or stop it."
    ),
    "model": Branch(
        "Models: see what is there, look after it, hand it on.",
        {
            "list": Leaf("model:list_models", "List the models of the workspace."),
            "show": Leaf("model:show", "Say what a model is: network, memory, work, how its training goes."),
            "evaluate": Leaf("model:evaluate", "Measure a model on the faces that it never learned from."),
            "find-lr": Leaf("find_lr:find_lr", "Try how fast a model can learn, on a copy of it."),
            "rename": Leaf("model:rename", "Give a model another name."),
            "copy": Leaf("model:copy", "Copy a model, or start a new one from it with --fresh."),
            "delete": Leaf("model:delete", "Move a model to the trash, with a way back."),
            "import": Leaf("model_import:import_models", "Bring in models of DeepFaceLab; its files stay as they are."),
            "export-dfl": Leaf(
                "model_export:export_dfl", "Write a model as DeepFaceLab's files, so that it loads them and trains on."
            ),
            "export-dfm": Leaf(
                "dfm:export_dfm", "Write a model as .dfm, the file that DeepFaceLive loads; XSeg as .onnx."
            ),
        },
    ),
    "run": Leaf("run:run", "Carry out a recipe: stages and phases of training, one after the other, unattended."),
    "merge": Leaf("merge:merge", "Lay the new face over the dst footage."),
    "open": Leaf("folder:open_folder", "Open the result, the faces or a sheet of them in the system's viewer."),
    "stop": Leaf("folder:stop", "Stop a running job; the command that started it resumes it."),
    "clear": Leaf("folder:clear", "Empty the workspace by moving what was made into its trash."),
    "demo": Leaf("demo:demo", "Make two short clips and run the whole pipeline on them."),
    "doctor": Leaf("doctor:doctor", "Say what this machine can do, and what is wrong or unwise."),
    "engines": Branch(
        "The networks that find faces.",
        {
            "list": Leaf(
                "engines:list_engines", "List the engines: which can be used, from which files, under which terms."
            ),
            "fetch": Leaf(
                "engines:fetch",
                "Fetch the files of an engine, once their SHA-256 is known; prints licence and data-set terms.",
            ),
            "add": Leaf("engines:add", "Bring in weight files that you have; the files stay where they are."),
        },
    ),
}


class CommandGroup(TyperGroup):
    """A group whose commands are built on first use; lists of them are made from the table alone."""

    entries: ClassVar[Mapping[str, Leaf | Branch]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        if getattr(ctx, "listing", False):
            return TyperCommand(cmd_name, help=entry.help)
        return build(cmd_name, entry)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        ctx.listing = True
        super().format_help(ctx, formatter)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        self.commands = dict.fromkeys(self.entries, cast(Any, None))  # what a mistyped name is compared with
        return super().resolve_command(ctx, args)


def build(name: str, entry: Leaf | Branch) -> Any:
    """The command or group that Typer makes of an entry."""
    if isinstance(entry, Branch):
        app = typer.Typer(name=name, cls=group_class(entry.commands), help=entry.help, no_args_is_help=True)
        app.callback()(lambda: None)
        return get_group(app)
    app = typer.Typer(add_completion=False)
    command = load(entry)
    app.command(name, help=paragraphs(inspect.getdoc(command) or entry.help))(command)
    return get_command(app)


def paragraphs(text: str) -> str:
    """The text with a line for each paragraph, to break where the terminal ends, not where the source did."""
    return "\n\n".join(part.replace("\n", " ") for part in text.split("\n\n"))


def load(entry: Leaf) -> Any:
    """Import the function of a command."""
    module, _, name = entry.target.partition(":")
    return getattr(importlib.import_module(f"understudy.cli.{module}"), name)


def group_class(entries: Mapping[str, Leaf | Branch]) -> type[CommandGroup]:
    return type("Commands", (CommandGroup,), {"entries": entries})
