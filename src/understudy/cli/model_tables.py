"""Models as text for a person: the list, one model in full, and what was renamed, copied or deleted."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from understudy.training.saved.models import ModelSummary

HEADINGS = ("name", "class", "archi", "size", "face", "iteration", "on disk", "saved")
RIGHT = frozenset({"size", "iteration", "on disk"})
FORMATS = {"flat": "DeepFaceLab's files", "dfm": "for live tools"}
MASK_NETWORK = "XSeg"


def list_text(models: Sequence[ModelSummary]) -> str:
    """Models as a table, one a line; what is unusual of one stands behind its line."""
    if not models:
        return "No models yet. Make one with: understudy train NAME"
    rows = [HEADINGS, *(_cells(model) for model in models)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = ["  ".join(_padded(row, widths)).rstrip() for row in rows]
    return "\n".join(lines[:1] + [_with_remarks(line, model) for line, model in zip(lines[1:], models, strict=True)])


def _cells(model: ModelSummary) -> tuple[str, ...]:
    return (
        model.name,
        model.model_class,
        model.archi or "-",
        str(model.resolution or "-"),
        face_words(model.face_type) or "-",
        "-" if model.iteration is None else f"{model.iteration:,}",
        size_text(model.size_bytes),
        f"{model.updated.astimezone():%Y-%m-%d %H:%M}",
    )


def _padded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if heading in RIGHT else cell.ljust(width)
        for heading, cell, width in zip(HEADINGS, row, widths, strict=True)
    ]


def _with_remarks(line: str, model: ModelSummary) -> str:
    remarks = [FORMATS[model.format]] if model.format in FORMATS else []
    remarks += ["pretraining"] if model.pretraining else []
    remarks += [f"cannot be used: {model.problem}"] if model.problem else []
    return f"{line}  ({'; '.join(remarks)})" if remarks else line


def face_words(face_type: str) -> str:
    """A face type as people say it: "whole_face" is "whole"."""
    return face_type.removesuffix("_face")


def size_text(count: float) -> str:
    """Bytes as `310 MB` or `1.2 GB`."""
    return (
        f"{count / 1e9:.1f} GB"
        if count >= 1e9
        else f"{count / 1e6:.0f} MB"
        if count >= 1e6
        else f"{count / 1e3:.0f} kB"
    )


def count_text(count: int) -> str:
    """A number of parameters, such as `38.3 M` or `41 k`."""
    return f"{count / 1e6:.1f} M" if count >= 1e6 else f"{count / 1e3:.0f} k"


def counted(count: int, what: str) -> str:
    """Such as `1 step` or `12,350 steps`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def when_text(iso: str) -> str:
    """A moment of a record in local time."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M}"
    except ValueError:
        return iso


def number_text(value: Any) -> str:
    """A number to three or four figures, others as they are."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def renamed_text(notes: Mapping[str, Any]) -> str:
    """What was renamed, and what is left of flat files beside it."""
    files = f" ({notes['files']} files)" if notes["files"] > 1 else ""
    return _lines(f"{notes['renamed_from']} is called {notes['model']} now{files}.", notes)


def deleted_text(notes: Mapping[str, Any]) -> str:
    """Where the model is now, and the way back."""
    return _lines(f"{notes['model']} is in the trash: {notes['trash']}\nTo bring it back: {notes['undo']}", notes)


def restored_text(notes: Mapping[str, Any]) -> str:
    return f"{notes['model']} ({notes['class']}) is back."


def copied_text(notes: Mapping[str, Any]) -> str:
    """The copy, what begins anew in it, and the next command."""
    what = f"{notes['model']} ({notes['class']}, iteration {notes['iteration']:,})"
    if "fresh" not in notes:
        return f"{what} is a copy of {notes['copied_from']}."
    anew = f" New in it: {', '.join(notes['fresh'])}." if notes["fresh"] else " All its weights are kept."
    onward = shlex.join(["understudy", "train", notes["model"]])
    end = "" if notes["class"] == MASK_NETWORK else f"\nNext: {onward}"
    return f"{what} starts from {notes['copied_from']}.{anew}{end}"


def _lines(text: str, notes: Mapping[str, Any]) -> str:
    return f"{text}\n{notes['note']}" if "note" in notes else text


def shown_text(body: Mapping[str, Any]) -> str:
    """One model in full, a fact a line."""
    rows = [*_rows_of_all(body), *_rows_of_the_network(body), *_rows_of_training(body), *_rows_of_a_dfm(body)]
    width = max(len(label) for label, _ in rows)
    lines = [f"{label.ljust(width)}  {text}" for label, text in rows]
    return "\n".join([str(body["model"]), *(f"  {line}" for line in lines)])


Rows = list[tuple[str, str]]


def _rows_of_all(body: Mapping[str, Any]) -> Rows:
    rows: Rows = [("problem", problem) for problem in body["problems"]]
    what = [body["class"], *([body["archi"]] if body["archi"] else [])]
    what += [f"{body['resolution']} px"] if body["resolution"] else []
    what += [f"{face_words(body['face_type'])} face"] if body["face_type"] else []
    rows.append(("model", ", ".join(what)))
    rows += (
        [("file" if body["format"] == "dfm" else "files", f"{FORMATS[body['format']]}, {size_text(body['bytes'])}")]
        if body["format"] in FORMATS
        else []
    )
    dims = [
        f"{name.removesuffix('_dims')} {value}" for name, value in body.get("config", {}).items() if "_dims" in name
    ]
    rows += [("dimensions", ", ".join(dims))] if dims else []
    if body["pretraining"]:
        end = shlex.join(["understudy", "train", body["model"], "--no-pretrain"])
        rows.append(("pretraining", f"yes, on many people's faces; to train two of them: {end}"))
    return rows


def _rows_of_the_network(body: Mapping[str, Any]) -> Rows:
    rows: Rows = []
    if "parameters" in body:
        parts = body["parameters"]
        each = (
            f" ({', '.join(f'{name} {count_text(count)}' for name, count in parts.items())})" if len(parts) > 1 else ""
        )
        rows.append(("parameters", count_text(body["parameters_total"]) + each))
    flops = body.get("flops", {})
    does = "find the mask of" if body["class"] == MASK_NETWORK else "draw"
    words = [f"{flops['swap_per_face'] / 1e9:.3g} GFLOP to {does} a face"] if "swap_per_face" in flops else []
    learned = flops.get("training_per_sample")
    words += [f"{learned / 1e9:.3g} to learn from one of each person"] if learned else []
    rows += [("work", ", ".join(words))] if words else []
    memory = body.get("memory", {})
    for use, label in (("training", "train with"), ("swap", "merge with")):
        if use in memory:
            need = memory[use]
            faces = f"{need['batch_size']} faces of each side" if use == "training" else "one face at a time"
            label = "mask with" if body["class"] == MASK_NETWORK and use == "swap" else label
            rows.append((label, f"{size_text(need['total'])} of memory in {memory['precision']}, {faces}"))
    return rows


def _rows_of_training(body: Mapping[str, Any]) -> Rows:
    rows: Rows = []
    if body["iteration"] is not None:
        since = " since it was imported" if body.get("imported_from") else ""
        images = f", {body['images']:,} faces of each side{since}" if body.get("images") else ""
        rows.append(("trained", f"{counted(body['iteration'], 'iteration')}{images}"))
    if losses := body.get("losses", {}).get("means"):
        last = min(body["losses"]["last"], body["losses"]["iterations"])
        values = ", ".join(f"{name} {number_text(value)}" for name, value in losses.items() if name in MAIN_LOSSES)
        rows.append(("losses", f"{values}, {f'mean of the last {last:,}' if last > 1 else 'the last one'}"))
    if found := body.get("evaluation"):
        rows.append(("evaluated", _evaluation_words(found)))
    if found := body.get("optimiser"):
        rows.append(("optimiser", f"{found['kind']}, {counted(found['steps'] or 0, 'step')}"))
    options = {**body.get("options", {})}
    rows += [("options", ", ".join(f"{name} {value}" for name, value in options.items()))] if options else []
    rows += _rows_of_saved_states(body)
    rows += [("created", when_text(body["created"]))] if body.get("created") else []
    rows += [(when_text(event.get("at", "")), str(event.get("text", ""))) for event in body.get("events", [])]
    rows += [("curves" if not index else "", path) for index, path in enumerate(body["outputs"])]
    return rows


def _evaluation_words(found: Mapping[str, Any]) -> str:
    """The last evaluation in a line."""
    unseen = "held-out" if found["on"] == "held_out" else "training"
    words = [f"at {found['iteration']:,}: {unseen} faces {number_text(found['loss'])}"]
    words += [f"{number_text(found['gap'])} above training faces"] if found["gap"] is not None else []
    words += [f"SSIM {found['ssim_dst']:.3f}"] if "ssim_dst" in found else []
    swap = found.get("swap") or {}
    words += [f"likeness {swap['likeness']:.2f}"] if "likeness" in swap else []
    return ", ".join(words)


MAIN_LOSSES = ("src", "dst", "loss", "gan", "code_discriminator")


def _rows_of_saved_states(body: Mapping[str, Any], most: int = 5) -> Rows:
    rows: Rows = []
    for kind, label in (("checkpoints", "saved"), ("best", "best"), ("backups", "backups")):
        states = body.get(kind, [])
        for index, state in enumerate(states[:most]):
            at = "-" if state["iteration"] is None else f"{state['iteration']:,}"
            size = f", {size_text(state['bytes'])}" if "bytes" in state else ""
            broken = ", damaged" if "problem" in state else ""
            loss = f", held-out loss {number_text(state['loss'])}" if "loss" in state else ""
            rows.append((label if not index else "", f"{at} at {when_text(state['saved'])}{size}{loss}{broken}"))
        rows += [("", f"… and {len(states) - most} more")] if len(states) > most else []
    return rows


def _rows_of_a_dfm(body: Mapping[str, Any]) -> Rows:
    if not body.get("inputs"):
        return []
    rows: Rows = [("input", line) for line in body["inputs"]]
    rows += [("output", line) for line in body["outputs_of_network"]]
    rows.append(("parameters", count_text(body["parameters_total"])))
    rows.append(("written by", f"{body['producer'] or '?'}, opset {body['opset'] or '?'}"))
    return rows + [(name, value) for name, value in body["metadata"].items()]
