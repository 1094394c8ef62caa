"""Starting a new model from a trained one: what it keeps, and what begins anew (spec: pretrained-and-generic, 2-6).

    SAEHD df     encoder and decoders stay; inter begins anew
    SAEHD liae   encoder and decoder stay; inter_AB and inter_B begin anew
    AMP          every weight stays: its inters are random projections that nobody trains
    Quick96      every weight stays, and the optimiser's moments
    XSeg         every weight stays, and the optimiser's moments

Iteration, images and losses begin at 0, the discriminators are left behind, and `pretrain` is off. Moments of
SAEHD and AMP begin anew, unless the old model is still in pretraining: then this is its end, and the moments of weights
that stay do stay, as in the reference.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from understudy.errors import IncompatibleModel, MissingModel, UsageError
from understudy.files import TEMP_PREFIX, user_data_folder
from understudy.interop.flat import FlatModel, find_flat_models
from understudy.networks.dfm import DFM_SUFFIX
from understudy.records import CODE_DISCRIMINATOR, GAN
from understudy.report import Event, Note, Report, silent
from understudy.stages.flat_import import import_flat, import_unprefixed
from understudy.stages.models import RESERVED_NAMES, find_model, flat_of
from understudy.training.saved.models import ModelRecord, is_model, new_record, publishing_model, read_record
from understudy.workspace import Workspace

if TYPE_CHECKING:
    from torch import Tensor

    from understudy.training.saved.checkpoints import Checkpoint

BEGINS_ANEW: dict[str, tuple[str, ...]] = {"saehd": ("inter", "inter_AB", "inter_B"), "xseg": ()}
"""Networks by class that hold what is of the two people that a model has learned."""

KEEPS_MOMENTS = frozenset({"quick96", "xseg"})
"""Classes whose optimiser goes on as it was."""

UNPREFIXED_CLASS = "Quick96"
"""What a folder of encoder.npy, inter.npy and so on is taken for: of other classes it would not say the sizes."""


@dataclass(frozen=True)
class Origin:
    """A trained model to start from. flat None: a folder of ours. here: whether it is a model of this workspace."""

    name: str
    folder: Path
    flat: FlatModel | None = None
    here: bool = False


def pretrained_folder() -> Path:
    """Where models lie that all workspaces start from: each a folder, ours or of the reference's files."""
    return user_data_folder() / "pretrained"


def find_origin(workspace: Workspace, what: str | Path, model_class: str = "") -> Origin:
    """The trained model that `what` names: one of this workspace, else of the shared folder, else a path.

    A path is that of a model's folder of ours, of a folder with the reference's files of one model, or of one of
    several: FOLDER/NAME. Raises MissingModel, UsageError where a folder holds several, IncompatibleModel for a `.dfm`.
    """
    text = str(what)
    if Path(text).name == text:
        try:
            return _of_workspace(workspace, text, model_class)
        except (MissingModel, IncompatibleModel) as error:
            missing = error
        except UsageError:
            if not Path(text).exists():
                raise
            missing = _no_model_in(Path(text))
        shared = pretrained_folder() / text
        if shared.exists():
            return _of_path(shared, model_class)
        if not Path(text).is_dir():
            raise missing
    return _of_path(Path(text), model_class)


def pretrained_record(workspace: Workspace, what: str | Path, model_class: str = "") -> ModelRecord:
    """What a new model would be that starts from `what`: its class, config and options. Nothing is written.

    Raises what `find_origin` raises, and IncompatibleModel.
    """
    origin = find_origin(workspace, what, model_class)
    if origin.flat is None and is_model(origin.folder):
        old = read_record(origin.folder)
        _require_class(origin, old.model_class, model_class)
        return new_record(old.model_class, old.config).with_options({**old.options, **_switched_off(old.options)})
    from understudy.interop.flat_reading import read_flat_model, unprefixed_model

    flat = origin.flat or unprefixed_model(origin.folder, model_class or UNPREFIXED_CLASS)
    _require_class(origin, flat.model_class, model_class)
    with read_flat_model(flat) as opened:
        record = new_record(flat.model_class, opened.config)
        return record.with_options({**opened.options, **_switched_off(opened.options)})


def start_from_pretrained(
    workspace: Workspace,
    name: str,
    what: str | Path,
    *,
    model_class: str = "",
    report: Report = silent,
) -> list[str]:
    """Make the new model `name` from a trained one; the networks that begin anew.

    For the holder of the new model's lock. what: see `find_origin`. model_class: refuse models of other classes.
    The new model's options are those of the old one, without `pretrain`. Raises MissingModel, CorruptCheckpoint,
    IncompatibleModel, UsageError for a name that is taken, DiskFull, ReadOnlyWorkspace.
    """
    origin = find_origin(workspace, what, model_class)
    with _readable(workspace, origin, model_class, report) as folder:
        anew = start_from_folder(workspace.model(name), folder, origin, model_class=model_class, report=report)
    new = f"; new in it: {', '.join(anew)}" if anew else ""
    report(Note(f"{name} starts from {origin.name}{new}."))
    return anew


def start_from_folder(
    target: Path, folder: Path, origin: Origin, *, model_class: str = "", report: Report = silent
) -> list[str]:
    """Make the new model `target` from the model of ours in `folder`; the networks that begin anew."""
    from understudy.training.saved.checkpoints import CheckpointStore

    old = read_record(folder)
    _require_class(origin, old.model_class, model_class)
    require_name_for_class(target.name, old.model_class)
    found = CheckpointStore(folder).newest(report)
    if found is None:
        raise MissingModel(
            f"{origin.name} has no saved state to start from.",
            hint=f"Train it first: understudy train {origin.name}" if origin.here else "",
            folder=folder,
        )
    anew = begins_anew(old.model_class, found.weights)
    started = {"model": origin.name, "class": old.model_class, "iteration": found.iteration, "fresh": anew}
    started |= {} if origin.here else {"folder": str(origin.folder)}
    record = new_record(old.model_class, old.config).with_options({**old.options, **_switched_off(old.options)})
    text = f"Started from {origin.name} at iteration {found.iteration}" + (
        f"; new: {', '.join(anew)}." if anew else "."
    )
    record = record.started(started).with_event("started", text)
    keeps_all = old.model_class.lower() in KEEPS_MOMENTS
    with publishing_model(target, record) as temp:
        CheckpointStore(temp).save(
            0,
            weights=renewed(
                old.model_class,
                old.config,
                without_discriminators(found.weights),
                anew,
                seed=_seed_after(old, found.iteration),
            ),
            optimiser=kept_moments(found, anew) if keeps_all or old.pretraining else None,
            state={"iteration": 0, "images": 0, "anew": anew if old.pretraining else []},
        )
    return anew


def require_name_for_class(name: str, model_class: str) -> None:
    """Raise UsageError where a swapper would take the mask network's place."""
    if name in RESERVED_NAMES and model_class.lower() != "xseg":
        raise UsageError(f"{name} is the name of the mask network.", hint="Choose another name for this model.")


def _require_class(origin: Origin, found: str, wanted: str) -> None:
    if wanted and found.lower() != wanted.lower():
        raise IncompatibleModel(
            f"{origin.name} is of the class {found}, not {wanted}.",
            hint=f"Start a model of its class: --model {found.lower()}",
            name=origin.name,
        )


# -- where it is


def _of_workspace(workspace: Workspace, name: str, model_class: str) -> Origin:
    found = find_model(workspace, name, model_class)
    if found.format == "dfm":
        raise _is_a_dfm(found.name)
    if found.format == "flat":
        return Origin(name, found.folder, flat_of(found), here=True)
    return Origin(name, found.folder, here=True)


def _of_path(path: Path, model_class: str) -> Origin:
    path = path.absolute()
    if path.suffix.lower() == DFM_SUFFIX:
        raise _is_a_dfm(path.name)
    if is_model(path):
        return Origin(path.name, path)
    if path.is_dir():
        flat = _one_of(path, find_flat_models(path), model_class)
        if flat is not None:
            return Origin(flat.name, path, flat)
        if (path / "encoder.npy").is_file():
            return Origin(path.name, path)
    named = [flat for flat in find_flat_models(path.parent) if flat.name == path.name]
    flat = _one_of(path.parent, named, model_class)
    if flat is None:
        raise _no_model_in(path)
    return Origin(flat.name, path.parent, flat)


def _one_of(folder: Path, found: list[FlatModel], model_class: str) -> FlatModel | None:
    fitting = [flat for flat in found if not model_class or flat.model_class.lower() == model_class.lower()]
    swappers = [flat for flat in fitting if flat.model_class != "XSeg"] or fitting
    if len(swappers) > 1:
        names = ", ".join(f"{flat.name} ({flat.model_class})" for flat in swappers)
        raise UsageError(
            f"That folder holds {len(swappers)} models: {names}.",
            hint=f"Name one of them: {folder / swappers[0].name}",
            folder=folder,
        )
    return swappers[0] if swappers else (found[0] if found else None)


def _no_model_in(path: Path) -> MissingModel:
    return MissingModel(
        f"There is no model to start from in {path.name or path}.",
        hint=f"Name a model of this workspace, one in {pretrained_folder()}, or a folder that holds one.",
        folder=path,
    )


def _is_a_dfm(name: str) -> IncompatibleModel:
    return IncompatibleModel(
        f"{name} is a dfm file, which cannot be trained: it holds half of a model.",
        hint="Start from the model that it was exported from.",
    )


@contextmanager
def _readable(workspace: Workspace, origin: Origin, model_class: str, report: Report) -> Iterator[Path]:
    """A folder of ours with the origin's weights: its own, or one that its files are imported into for the moment."""
    if origin.flat is None and is_model(origin.folder):
        yield origin.folder
        return
    scratch = workspace.models / f"{TEMP_PREFIX}{uuid.uuid4().hex[:8]}-import"
    quiet = warnings_of(report)
    try:
        if origin.flat is not None:
            import_flat(scratch / origin.name, origin.flat, report=quiet)
        else:
            import_unprefixed(scratch / origin.name, origin.folder, model_class or UNPREFIXED_CLASS, report=quiet)
        yield scratch / origin.name
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def warnings_of(report: Report) -> Report:
    """What of an import matters to somebody who only starts from it."""

    def pass_on(event: Event) -> None:
        if not isinstance(event, Note) or event.level == "warning":
            report(event)

    return pass_on


# -- what it keeps


def begins_anew(model_class: str, weights: Iterable[str]) -> list[str]:
    """The networks that hold what is of two people, of those that the named weights belong to."""
    there = dict.fromkeys(name.partition(".")[0] for name in weights)
    return [network for network in there if network in BEGINS_ANEW.get(model_class.lower(), ())]


def without_discriminators(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights without those of the discriminators, which know faces of before."""
    return {name: tensor for name, tensor in weights.items() if name.partition(".")[0] not in (GAN, CODE_DISCRIMINATOR)}


def renewed(
    model_class: str, config: Mapping[str, Any], old: Mapping[str, Tensor], anew: list[str], *, seed: int
) -> dict[str, Tensor]:
    """The old weights, and initial ones for the networks that begin anew."""
    import torch

    from understudy.networks.families import config_from_plain, family_for

    kept = {name: tensor for name, tensor in old.items() if name.partition(".")[0] not in anew}
    if anew:
        family = family_for(model_class)
        net = family.build(config_from_plain(family, config), generator=torch.Generator().manual_seed(seed))
        kept |= {name: tensor for name, tensor in net.state_dict().items() if name.partition(".")[0] in anew}
    return kept


def kept_moments(found: Checkpoint, anew: list[str]) -> dict[str, Tensor] | None:
    """The optimiser's state without what belongs to networks that begin anew or to discriminators."""
    if found.optimiser is None:
        return None
    stale = tuple(f".{network}." for network in anew)
    return {
        name: tensor
        for name, tensor in found.optimiser.items()
        if "/" not in name and not any(f".{name.partition('.')[2]}".startswith(start) for start in stale)
    }


def _switched_off(options: Mapping[str, Any]) -> dict[str, Any]:
    return {"pretrain": False} if "pretrain" in options else {}


def _seed_after(old: ModelRecord, iteration: int) -> int:
    """The seed of what begins anew. In pretraining inter_AB stays as it was made: the same seed would give it back."""
    from understudy.training.batches.samplers import seed_of

    seed = seed_in(old.options)
    return seed_of(seed, iteration) if old.pretraining else seed


def seed_in(options: Mapping[str, Any]) -> int:
    """The seed among a model's options."""
    seed = options.get("seed", 0)
    return seed if isinstance(seed, int) and seed >= 0 else 0
