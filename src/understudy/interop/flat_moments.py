"""The state of one of the reference's optimisers, in our names: moments, each read when it is asked for, and steps."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import torch

from understudy.errors import IncompatibleModel
from understudy.interop.flat_files import FlatFile, FlatTensors, part_reader, require_tensor
from understudy.interop.flat_names import ITERATIONS, MOMENTS, WHOLE, XSEG
from understudy.interop.layout import our_name, shape_in_file, their_name
from understudy.networks.families import family_for

_OURS = {theirs: ours for kind in MOMENTS.values() for ours, theirs in kind.items()}
_MOMENT = re.compile(rf"(?P<kind>{'|'.join(_OURS)})_(?P<network>[^/]+)/(?P<tensor>.+)_0:0")

Shapes = Mapping[str, tuple[int, ...]]


def add_moments(
    optimiser: FlatTensors, file: FlatFile, part: str, shapes: Shapes, model_class: str, *, discriminator: str = ""
) -> tuple[str, list[str]]:
    """Add the state in `file` to `optimiser`; the optimiser's kind (`adabelief`, `rmsprop`), and what to say of it.

    part: the file's name without prefix and ending. shapes: of the tensors that it is of, by our names, without the
    discriminator's before them. Raises IncompatibleModel when it is not the state of these tensors.
    """
    steps = _steps(file)
    found = _by_name(file, is_one_network=bool(discriminator) or model_class == XSEG)
    kinds = {kind for kind, name in found if name in shapes}
    if not kinds:
        raise IncompatibleModel(f"{file.path.name} holds no state of this network's tensors.", path=file.path)
    trained = [name for name in shapes if their_name(name)[0] not in family_for(model_class).untrained]
    missing = {name for name in trained for kind in kinds if (kind, name) not in found}
    used = [(kind, name) for kind, name in found if name in shapes and name not in missing]
    for kind, name in used:
        require_tensor(file, found[kind, name], shape_in_file(name, shapes[name]))
    before = f"{discriminator}/" if discriminator else ""
    for kind, name in used:
        layout_name = f"{discriminator}.{name}" if discriminator else name
        read = part_reader(file, found[kind, name], layout_name, part)
        optimiser.add(f"{before}{_OURS[kind]}.{name}", shapes[name], read)
    optimiser.add(f"{before}iterations", (), lambda: torch.tensor(steps), "I64")
    lacks = (
        f"{file.path.name} lacks the state of {len(missing)} of {len(shapes)} tensors "
        f"({min(missing, default='')} first): it begins anew for them."
    )
    kind = next(kind for kind, names in MOMENTS.items() if kinds & set(names.values()))
    return kind, [lacks] if missing else []


def _steps(file: FlatFile) -> int:
    steps = file.entries.get(ITERATIONS, 0)
    if isinstance(steps, np.ndarray) and steps.size == 1:
        steps = steps.reshape(-1)[0]
    if not isinstance(steps, int | np.integer) or not 0 <= int(steps) < 2**62:
        raise IncompatibleModel(f"{file.path.name} does not say how many steps were made.", path=file.path)
    return int(steps)


def _by_name(file: FlatFile, *, is_one_network: bool) -> dict[tuple[str, str], str]:
    """(kind, our name of the tensor) → key in the file. XSeg and the discriminators are one network."""
    found = {}
    for key in file.entries:
        match = _MOMENT.fullmatch(str(key))
        if match:
            network = WHOLE if is_one_network else match["network"]
            found[match["kind"], our_name(network, match["tensor"])] = key
    return found
