"""What a model becomes as DeepFaceLab's files: which tensors go where, its options and its name there."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from understudy.errors import IncompatibleModel, InvalidOption
from understudy.interop import flat_writing, reference_options
from understudy.interop.flat_names import XSEG, prefix_of
from understudy.interop.flat_writing import PlannedFiles
from understudy.interop.reference_record import ReferenceRecord
from understudy.networks.families import config_from_plain, family_for
from understudy.networks.patch_discriminator import UnetPatchDiscriminator, fitting_patch_size
from understudy.records import GAN
from understudy.report import Note
from understudy.training.options import TrainOptions
from understudy.training.recipes import RECIPES
from understudy.training.saved.models import ModelRecord
from understudy.training.saved.open_state import OpenState
from understudy.workspace import Workspace

OF_THIS_MACHINE = frozenset(
    {"device", "precision", "threads", "save_minutes", "keep_checkpoints", "preview_every", "guard", "checkpointing"}
)
"""Options that say nothing about a model, so that nobody misses them."""


@dataclass(frozen=True, eq=False)
class ExportPlan:
    """Everything that is to be written, but for the tensors, which are still in `saved`.

    name: what DeepFaceLab is to call the model. left_out: what it has no place for. notes: what to tell about it.
    """

    model_class: str
    name: str
    iteration: int
    options: dict[Any, Any]
    networks: PlannedFiles
    optimisers: PlannedFiles
    saved: OpenState
    kept: ReferenceRecord | None
    left_out: list[str] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """What the names of its files begin with."""
        return prefix_of(self.name, self.model_class)

    @property
    def label(self) -> str:
        """The model as its summary calls it, and what its files are published under."""
        return self.prefix.removesuffix("_")


def plan_export(
    name: str, record: ModelRecord, kept: ReferenceRecord | None, saved: OpenState, as_name: str | None
) -> ExportPlan:
    """What the model `name` becomes. as_name: what DeepFaceLab is to call it.

    Raises IncompatibleModel when its weights are not those of its config, or DeepFaceLab has no such network.
    """
    _require_a_network_of_theirs(record, saved)
    model_class = family_for(record.model_class).model_class
    networks = flat_writing.network_files(model_class, saved.weights.shapes)
    moments = saved.optimiser.shapes if saved.optimiser else {}
    optimisers = flat_writing.optimiser_files(model_class, moments, networks.sources)
    options = _options(model_class, record, kept)
    plan = ExportPlan(
        model_class, _their_name(name, model_class, as_name), max(1, saved.iteration), options, networks, optimisers,
        saved, kept,
    )  # fmt: skip
    plan.left_out.extend(_ours_alone(model_class, record))
    plan.left_out.extend(sorted({tensor.split(".")[0] for tensor in (*networks.left, *optimisers.left)}))
    plan.notes.extend(Note(message, level, name) for message, level in _said(name, plan))  # type: ignore[arg-type]
    return plan


def _require_a_network_of_theirs(record: ModelRecord, saved: OpenState) -> None:
    """DeepFaceLab gives a network of other shapes random weights, without a word: refuse to write such files."""
    family = family_for(record.model_class)
    config = config_from_plain(family, record.config)
    told = {option.ours for option in reference_options.known_options(family.model_class).values()}
    usual = family.config()
    for number in (number.name for number in fields(config) if number.name not in told):
        theirs, ours = getattr(usual, number), getattr(config, number)
        if ours != theirs:
            raise IncompatibleModel(
                f"DeepFaceLab's {family.model_class} always has {number} {theirs}; this model has {ours}.",
                hint="Only models of the class's own numbers can be exported.",
            )
    for name, tensor in family.bare(config).state_dict().items():
        found = saved.weights.shapes.get(name)
        if found != tuple(tensor.shape):
            raise IncompatibleModel(
                f"The tensor {name} of the saved state is {found or 'missing'} where model.json asks for "
                f"{tuple(tensor.shape)}.",
                hint="Restore model.json from a copy.",
                tensor=name,
            )


def _options(model_class: str, record: ModelRecord, kept: ReferenceRecord | None) -> dict[Any, Any]:
    """The reference's options: in the types that they came in, or that the reference would give them."""
    training = {name: value for name, value in record.options.items() if value is not None}
    if "gan_patch_size" not in (kept.options if kept else {}):
        size = int(record.config.get("size", 0))
        training.setdefault("gan_patch_size", fitting_patch_size(size // 8, size))
    if kept is not None:
        return reference_options.to_theirs(model_class, record.config, training, kept.options)
    options = reference_options.to_theirs(model_class, record.config, training)
    return flat_writing.as_the_reference_types(model_class, options)


def _ours_alone(model_class: str, record: ModelRecord) -> list[str]:
    """Options that the reference does not have, where they are neither at their defaults nor what the class is."""
    known = reference_options.known_options(model_class)
    defaults, usual = TrainOptions(), _usual(record)
    return [
        f"{name} {value}"
        for name, value in record.options.items()
        if value is not None
        and name not in known
        and name not in OF_THIS_MACHINE
        and name in TrainOptions.model_fields
        and value != _stored(usual.get(name, getattr(defaults, name)))
    ]


def _stored(value: Any) -> Any:
    """A value as model.json holds it, where several are a list."""
    return list(value) if isinstance(value, tuple) else value


def _usual(record: ModelRecord) -> dict[str, Any]:
    """The class's own defaults, and what it leaves no choice of: the reference has them as they are."""
    recipe = RECIPES.get(record.model_class.lower())
    if recipe is None:
        return {}
    fixed = recipe.fixed(config_from_plain(recipe.family, record.config))
    return {**recipe.defaults, **fixed}


def _their_name(name: str, model_class: str, chosen: str | None) -> str:
    """What DeepFaceLab is to call the model. It reads a name up to its first underscore only."""
    if model_class == XSEG:
        return XSEG
    if chosen is None:
        return name.replace("_", " ")
    return Workspace(Path()).model(chosen).name  # raises UsageError for what is no name of a file


def _said(name: str, plan: ExportPlan) -> list[tuple[str, str]]:
    """What the user should know of the export, and how loudly."""
    said = []
    if plan.left_out:
        said.append((f"DeepFaceLab has nothing like it, and it is left out: {', '.join(plan.left_out)}.", "info"))
    if not plan.optimisers.files:
        said.append(("There is no optimiser state that DeepFaceLab knows; it will begin with a fresh one.", "warning"))
    if plan.saved.iteration < 1:
        said.append(("It was not trained yet; it is exported as iteration 1, since 0 would start it anew.", "info"))
    if plan.options.get("pretrain"):
        said.append(("The option pretrain is on: DeepFaceLab will go on pretraining.", "info"))
    if "_" in plan.name:
        shown = plan.name.partition("_")[0]
        said.append((f"DeepFaceLab will list {plan.name} as {shown} and cannot open it so.", "warning"))
    elif plan.name != name and "_" in name:
        said.append((f"Exported as {plan.name!r}: DeepFaceLab reads names up to the first underscore only.", "info"))
    if not _gan_fits(plan):
        said.append(
            ("The patch discriminator is not of the size that the options say; DeepFaceLab begins it anew.", "warning")
        )
    return said


def _gan_fits(plan: ExportPlan) -> bool:
    """Whether the patch discriminator, if there is one, has the shapes that the options ask for."""
    found = {name: shape for name, shape in plan.saved.weights.shapes.items() if name.startswith(f"{GAN}.")}
    if not found:
        return True
    try:
        with torch.device("meta"):
            gan = UnetPatchDiscriminator(int(plan.options["gan_patch_size"]), int(plan.options["gan_dims"]))
    except (KeyError, ValueError, TypeError, RuntimeError, OverflowError, InvalidOption):  # kept as they came
        return False
    return found == {f"{GAN}.{name}": tuple(tensor.shape) for name, tensor in gan.state_dict().items()}
