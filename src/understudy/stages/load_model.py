"""Any model as a function from faces to faces: ours, the reference's flat files, a `.dfm`, a mask network."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from understudy.devices import device_named
from understudy.errors import InvalidOption, MissingModel, UsageError
from understudy.interop.flat import FlatModel, find_flat_models
from understudy.interop.flat_reading import read_flat_model
from understudy.networks.dfm import DFM_SUFFIX, DfmNetwork
from understudy.networks.families import config_from_plain, family_for
from understudy.networks.predictor import Drawn, Floats, Predictor
from understudy.records import NEWEST, PrecisionChoice, WeightsChoice
from understudy.report import Report, silent
from understudy.training.saved.models import is_model
from understudy.training.saved.predictor import load_predictor, predictor_of


def load_model(
    path: str | os.PathLike[str],
    device: str = "auto",
    precision: PrecisionChoice | str = PrecisionChoice.AUTO,
    *,
    checkpoint: str | int = NEWEST,
    weights: WeightsChoice | str = WeightsChoice.AUTO,
    compiled: bool = False,
    report: Report = silent,
) -> Predictor:
    """Open a model to draw with: `load_model("shot/model/hello").predict(faces)`. Nothing is written anywhere.

    path: the folder of a model; a `.dfm` file; flat files of the reference, by one of them (`new_SAEHD_data.dat`), by
    what their names begin with (`model/new` or `model/new_SAEHD`), or by their folder where there is one model in it.
    A mask network (XSeg) gives faces back as they are, with its masks. device: auto, cpu, cuda:0, mps. precision: auto,
    fp32, bf16, fp16; auto takes what this machine is measured to be fast in. weights: of a model of ours; auto takes
    their slow average where training kept one, ema only that, trained the weights themselves. compiled: through
    torch.compile, which gains on graphics cards only and takes half a minute at the first face; where it fails, as
    without it, with a note. A `.dfm` computes as its file says, whatever precision and compiled are. checkpoint: of a
    model of ours: newest, best (on the faces that its training held out), or an iteration that is still kept.

    Raises MissingModel when there is none or it was never saved, CorruptCheckpoint, IncompatibleModel or UnsafeFile for
    files that are damaged or no such thing, InvalidOption for a device or precision that is not there, UsageError where
    a folder has several models, MissingExtra where a `.dfm` needs onnxruntime.
    """
    place = Path(path)
    choice = _precision(precision)
    if place.suffix.lower() == DFM_SUFFIX:
        return load_dfm(place, device)
    if is_model(place):
        which = _weights(weights)
        state = str(checkpoint)
        return load_predictor(place, device, choice, checkpoint=state, weights=which, compiled=compiled, report=report)
    return _load_flat(_flat_model_at(place), device, choice, compiled=compiled, report=report)


def load_dfm(path: Path, device: str = "auto") -> Predictor:
    """A `.dfm` file as a predictor. Errors as `load_model`."""
    if not path.is_file():
        raise MissingModel(f"There is no file {path.name}.", hint=f"Look whether this is its place: {path}", path=path)
    where = device_named(device).id
    network = DfmNetwork(path, device=where)
    lock = threading.Lock()

    def draw(faces: Floats, morph: float | None) -> tuple[Floats, Floats, Floats]:
        with lock:
            return network.predict(faces, morph)

    told = network.metadata
    facts = Drawn(
        told.model_class or ("AMP" if network.has_morph else "DFM"),
        network.size,
        told.face_type,
        told.iteration,
        device=where,
        has_morph=network.has_morph,
    )
    return Predictor(draw, facts)


def _precision(given: PrecisionChoice | str) -> PrecisionChoice:
    try:
        return PrecisionChoice(given)
    except ValueError:
        raise InvalidOption(
            f"There is no precision {given!r}.", hint=f"Choose one of {', '.join(PrecisionChoice)}."
        ) from None


def _weights(given: WeightsChoice | str) -> WeightsChoice:
    try:
        return WeightsChoice(given)
    except ValueError:
        raise InvalidOption(
            f"There are no weights {given!r}.", hint=f"Choose one of {', '.join(WeightsChoice)}."
        ) from None


def _flat_model_at(path: Path) -> FlatModel:
    """The flat model that a path means: its folder, one of its files, or what their names begin with."""
    if path.is_dir():
        found = find_flat_models(path)
    else:
        found = [model for model in find_flat_models(path.parent) if _means(path, model)]
    if not found:
        raise MissingModel(
            f"There is no model at {path.name or path}.",
            hint="Name the folder of a model, a .dfm file, or flat files such as model/new_SAEHD.",
            path=path,
        )
    if len(found) > 1:
        names = ", ".join(sorted(model.full_name for model in found))
        raise UsageError(
            f"There are {len(found)} models at {path.name or path}: {names}.",
            hint=f"Say which one, such as: {found[0].folder / found[0].full_name}",
            path=path,
        )
    return found[0]


def _means(path: Path, model: FlatModel) -> bool:
    return path in model.files or path.name in (model.name, model.full_name, model.prefix)


def _load_flat(
    flat: FlatModel, device: str, precision: PrecisionChoice, *, compiled: bool, report: Report
) -> Predictor:
    """Flat files as they lie there, each tensor turned into ours as it is read."""
    family = family_for(flat.model_class)
    with read_flat_model(flat) as opened:
        net = family.bare(config_from_plain(family, opened.config))
        weights = {name: opened.weights.read(name) for name in net.state_dict()}
        iteration = opened.iteration
    net.load_state_dict(weights, assign=True)
    weights.clear()  # else they would stay beside the copies that are made ready
    return predictor_of(
        family, net, iteration=iteration, device=device, precision=precision, compiled=compiled, report=report
    )
