"""One model in full: its network, what it costs, how its training went, and the curve of its losses."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from understudy.errors import UnderstudyError
from understudy.files import parse_json
from understudy.interop.dfm_head import read_dfm_head
from understudy.interop.flat import find_backups
from understudy.interop.flat_head import read_flat_head
from understudy.interop.flat_names import DATA
from understudy.networks.dfm import METADATA_PREFIX
from understudy.report import Note, Report, silent
from understudy.stages.models import dfm_path, find_model, flat_of
from understudy.stages.result import StageResult
from understudy.training.saved.models import ModelRecord, ModelSummary, read_record
from understudy.workspace import Workspace

RECENT = 100
"""Iterations over which recent losses are averaged."""

SWAP_BATCH = 1


def show_model(
    workspace: Workspace,
    name: str,
    *,
    batch_size: int | None = None,
    model_class: str = "",
    report: Report = silent,
) -> StageResult:
    """Everything that is known of a model; of ours the curves are drawn anew and named in the outputs.

    batch_size: that memory is predicted for; None: the one it trains with. model_class: which of two flat models that
    share the name. The notes hold what `model show --json` prints: the line of the list, and for ours config,
    parameters, flops, memory, options, optimiser, checkpoints, backups, losses and events; for flat files what they say
    without being imported; for a `.dfm` its inputs, outputs and metadata. `problems` names what is broken.
    Raises MissingModel, UsageError.
    """
    started = time.perf_counter()
    found = find_model(workspace, name, model_class)
    outputs: list[Path] = []
    notes = {"model": found.name, **{key: value for key, value in found.as_json().items() if key != "name"}}
    notes["problems"] = [found.problem] if found.problem else []
    if found.format == "dfm":
        notes |= _dfm_notes(found)
    elif found.format == "flat":
        notes |= _flat_notes(found, batch_size, notes["problems"])
    elif not found.problem:
        notes |= _our_notes(found, batch_size, notes["problems"])
        outputs = _drawn(found.folder, report)
    return StageResult(outputs=outputs, seconds=time.perf_counter() - started, notes=notes)


# -- ours


def _our_notes(found: ModelSummary, batch_size: int | None, problems: list[str]) -> dict[str, Any]:
    record = read_record(found.folder)
    state, kept = _saved(found.folder, problems)
    return {
        "folder": str(found.folder),
        "config": record.config,
        **_network_notes(record, batch_size, state, problems),
        "images": int(state.get("images", 0)),
        "created": record.created,
        "imported_from": record.imported_from,
        "started_from": record.started_from,
        "events": list(record.events),
        **kept,
        **_loss_notes(found.folder),
        **_evaluation_notes(found.folder),
    }


def _network_notes(
    record: ModelRecord, batch_size: int | None, state: Mapping[str, Any], problems: list[str]
) -> dict[str, Any]:
    """Parameters, operations, memory and options; what cannot be told because the config is broken is a problem."""
    from understudy.training.memory.cost import imagined_network, parameters_of, swap_flops, training_flops

    try:
        net = imagined_network(record.model_class, record.config)
        size, counts = int(record.config["size"]), parameters_of(net)
        flops = {"swap_per_face": swap_flops(net, size)}
        if hasattr(net, "reconstruct"):
            flops["training_per_sample"] = training_flops(net, size)
    except UnderstudyError as error:
        problems.append(error.message)
        return {"options": dict(record.options)}
    notes: dict[str, Any] = {
        "parameters": counts,
        "parameters_total": sum(counts.values()),
        "flops": flops,
    }
    return notes | _training_notes(record, batch_size, state, problems)


def _training_notes(
    record: ModelRecord, batch_size: int | None, state: Mapping[str, Any], problems: list[str]
) -> dict[str, Any]:
    """Options that differ from the defaults, and memory for training and for a swap."""
    from understudy.training.learning.precision import Precision
    from understudy.training.memory.peak import swap_memory, training_memory
    from understudy.training.options import TrainOptions
    from understudy.training.recipes import RECIPES

    precision = Precision.of(state["precision"]) if isinstance(state.get("precision"), dict) else Precision()
    swap = swap_memory(record.model_class, record.config, precision, batch_size=SWAP_BATCH)
    memory: dict[str, Any] = {"precision": precision.dtype, "swap": {"batch_size": SWAP_BATCH, **swap.as_json()}}
    recipe = RECIPES.get(record.model_class.lower())
    if recipe is None:
        return {"options": dict(record.options), "memory": memory}
    known = TrainOptions.model_fields
    defaults = {name: field.get_default() for name, field in known.items()} | dict(recipe.defaults)
    try:
        given = {name: value for name, value in record.options.items() if name in known}
        options = TrainOptions.of(**{**defaults, **given, "model": record.model_class.lower()})
        batch = batch_size or options.batch_size
        device = str(state.get("device", "cpu"))
        need = training_memory(record.model_class, record.config, options, precision, batch_size=batch, device=device)
        memory["training"] = {"batch_size": batch, "device": device, **need.as_json()}
    except UnderstudyError as error:
        problems.append(error.message)
    return {"options": _unusual(record.options, defaults), "memory": memory}


def _unusual(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The options whose values are not the usual ones; those of other programs among them."""
    usual = {name: str(list(value) if isinstance(value, tuple) else value) for name, value in defaults.items()}
    return {name: value for name, value in options.items() if usual.get(name) != str(value)}


def _saved(folder: Path, problems: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state beside the newest saved weights, and what is said of all that is saved."""
    from understudy.training.saved.best import find_best
    from understudy.training.saved.checkpoints import CheckpointStore
    from understudy.training.saved.manifests import OPTIMISER, STATE

    store = CheckpointStore(folder)
    generations = store.generations()
    state: dict[str, Any] = {}
    kinds = {store.backups: "backups", store.best: "best"}
    kept: dict[str, Any] = {"checkpoints": [], "backups": [], "best": [], "optimiser": None}
    for generation in generations:
        line = {"iteration": int(generation.name), "saved": _when(generation), "bytes": _size(generation)}
        problem = _damage(generation)
        if problem:
            problems.append(problem)
            line["problem"] = problem
        elif not state:
            state = _read_state(generation / STATE)
            kept["optimiser"] = _optimiser(generation / OPTIMISER)
        kept[kinds.get(generation.parent, "checkpoints")].append(line)
    best = find_best(folder)
    kept["best"] = [line | {"loss": best.loss} for line in kept["best"] if best and line["iteration"] == best.iteration]
    return state, kept


def _damage(generation: Path) -> str:
    """What is wrong with a saved state as far as sizes tell; contents are checked when it is used, which takes long."""
    from understudy.training.saved.manifests import read_manifest

    try:
        files = read_manifest(generation)["files"]
        short = [name for name in files if (generation / name).stat().st_size != files[name]["bytes"]]
    except UnderstudyError as error:
        return error.message
    except (OSError, KeyError, TypeError):
        return f"The saved state {generation.name} is damaged: a file is missing."
    return f"The saved state {generation.name} is damaged: {', '.join(short)} is cut off." if short else ""


def _read_state(path: Path) -> dict[str, Any]:
    try:
        state = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return state if isinstance(state, dict) else {}


def _optimiser(path: Path) -> dict[str, Any] | None:
    """Which optimiser a saved state is of, and how many steps it has made; None where moments begin anew."""
    from safetensors import SafetensorError, safe_open

    from understudy.training.optimisers import kind_in

    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            told = {name: file.get_tensor(name) for name in ("iterations", "kind") if name in names}
    except (SafetensorError, OSError, ValueError):
        return None
    by_names = "adabelief" if any(name.startswith("first.") for name in names) else "rmsprop"
    return {"kind": kind_in(told) or by_names, "steps": int(told["iterations"]) if "iterations" in told else None}


def _loss_notes(folder: Path) -> dict[str, Any]:
    from understudy.training.history import FILE_NAME, History

    history = History.read(folder / FILE_NAME)
    body: dict[str, Any] = {"iterations": len(history), "last": RECENT}
    if len(history):
        body |= {"from": history.iterations[0], "to": history.iterations[-1]}
        body["means"] = {name: round(value, 5) for name, value in history.means(RECENT).items()}
    return {"losses": body}


def _evaluation_notes(folder: Path) -> dict[str, Any]:
    """How many evaluations there are, and what the last one and the last one of the swap say."""
    from understudy.training.measuring.evaluations import FILE_NAME, Evaluations

    evaluations = Evaluations.read(folder / FILE_NAME)
    newest = evaluations.newest
    if newest is None:
        return {"evaluation": None}
    swaps = [scores for scores in evaluations if "seen" in scores.values]
    body: dict[str, Any] = {"count": len(evaluations), "loss": newest.loss, "gap": newest.gap, **newest.as_json()}
    return {"evaluation": {**body, "swap": swaps[-1].as_json() if swaps else None}}


def _drawn(folder: Path, report: Report) -> list[Path]:
    """The curves of the losses and of the evaluations, drawn from what is written of them; nothing where nothing is."""
    from understudy.training import history
    from understudy.training.measuring import evaluation_curve, evaluations

    losses = history.History.read(folder / history.FILE_NAME)
    measured = evaluations.Evaluations.read(folder / evaluations.FILE_NAME)
    curves: list[tuple[bool, Path, Callable[[Path], Path]]] = [
        (bool(len(losses)), folder / history.CURVE_NAME, partial(history.draw_curve, losses)),
        (
            bool(len(measured)),
            folder / evaluation_curve.CURVE_NAME,
            partial(evaluation_curve.draw_evaluations, measured),
        ),
    ]
    return [path for known, place, draw in curves if known and (path := _drawn_at(place, draw, report)) is not None]


def _drawn_at(place: Path, draw: Callable[[Path], Path], report: Report) -> Path | None:
    """A curve drawn anew; where it cannot be written, the old one, if there is one."""
    try:
        return draw(place)
    except UnderstudyError as error:
        message = f"{place.stem.replace('_', ' ').capitalize()} could not be drawn anew: {error.message}"
        report(Note(message, "warning", place.parent.name))
        return place if place.is_file() else None


def _when(generation: Path) -> str:
    """When a saved state was written; a copy of it keeps the time."""
    manifest = generation / "manifest.json"
    path = manifest if manifest.is_file() else generation
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


# -- what is not ours


def _flat_notes(found: ModelSummary, batch_size: int | None, problems: list[str]) -> dict[str, Any]:
    """What flat files say without being imported: options, files, backups, and what their options make of a network."""
    flat = flat_of(found)
    head = read_flat_head(flat.folder / f"{flat.prefix}{DATA}")
    notes: dict[str, Any] = {
        "folder": str(flat.folder),
        "files": [{"file": path.name, "bytes": path.stat().st_size} for path in flat.files],
        "backups": [
            {"slot": backup.folder.name, "iteration": backup.iteration, "saved": _utc(backup.updated)}
            for backup in find_backups(flat)
        ],
        "reference_options": head.options,
    }
    record = _record_of(found, head.options, problems)
    return notes if record is None else notes | {"config": record.config} | _network_notes(record, batch_size, {}, [])


def _record_of(found: ModelSummary, options: Mapping[str, Any], problems: list[str]) -> ModelRecord | None:
    """What an import would make of the options; None where no network can be built from them."""
    from understudy.interop.reference_options import to_ours
    from understudy.networks.families import config_from_plain, config_to_plain, family_for

    try:
        family = family_for(found.model_class)
        ours = to_ours(found.model_class, dict(options), None)
        config = config_from_plain(family, {**config_to_plain(family.config()), **ours.config})
        return ModelRecord(family.model_class, config_to_plain(config), ours.training)
    except UnderstudyError as error:
        problems.append(error.message)
        return None


def _dfm_notes(found: ModelSummary) -> dict[str, Any]:
    path = dfm_path(found)
    head = read_dfm_head(path)
    return {
        "file": str(path),
        "inputs": list(head.inputs),
        "outputs_of_network": list(head.outputs),
        "has_morph": head.has_morph,
        "opset": head.opset,
        "producer": head.producer,
        "parameters_total": head.parameters,
        "metadata": {key.removeprefix(METADATA_PREFIX): value for key, value in sorted(head.metadata.items())},
    }


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
