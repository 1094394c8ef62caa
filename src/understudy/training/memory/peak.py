"""How much memory a training step or a swap will take, before anything is allocated.

The step itself is run on torch's meta device: every tensor has its shape and no numbers. Whoever watches the operations
sees each piece of memory come into being and go, so the peak is that of the very code that trains: activations kept for
the way back, gradients as they arrive, the losses, the discriminators. What is there before a step is added:

    weights, and their average (float32) + moments (float32, one or two of each) + working copies (of 16 bit, if any)
    + peak of a step = activations, gradients, losses, the batch

A graphics card's allocator puts gradients where activations have been. A processor's does not: the pieces that come
free are scattered. So the peak is that of the way there and all gradients together, and what has passed on the way
there (the losses' work) counts once more, since the way back hardly finds its places again among the gradients; nor do
stages that are computed again (`--checkpointing`), which take about as much. Measurements confirm it (`bench models`).
`overhead` is what a device takes beyond its tensors: libraries' work space, rounding. Faces kept
ready in memory are the faceset's matter and not counted, nor is what the program takes without a model.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from understudy.training.learning.discriminators import Discriminator, discriminator_networks, require_patch_that_fits
from understudy.training.learning.learner import Learner
from understudy.training.learning.precision import Precision
from understudy.training.learning.recomputing import recompute
from understudy.training.memory.cost import imagined_network
from understudy.training.optimisers import Optimiser, optimiser_named
from understudy.training.options import TrainOptions
from understudy.training.recipes import Recipe, config_from_plain, recipe_for

OVERHEAD = {"cpu": 1.08, "cuda": 1.05}
"""What a device takes for each byte of tensors; a processor's is measured by `bench models`, a card's is not yet."""


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes by what they are for. step: the peak of what one step allocates and frees again, gradients included."""

    weights: int
    moments: int
    working: int
    step: int
    overhead: int

    @property
    def total(self) -> int:
        return self.weights + self.moments + self.working + self.step + self.overhead

    def as_json(self) -> dict[str, int]:
        """Each part, and `total`."""
        return {**vars(self), "total": self.total}


def training_memory(
    model_class: str,
    config: Mapping[str, Any],
    options: TrainOptions,
    precision: Precision,
    *,
    batch_size: int,
    in_pieces: bool = False,
    sharers: int = 1,
    device: str = "cpu",
    faithful: bool = False,
) -> MemoryNeed:
    """What training takes at its peak, in bytes.

    config: as `model.json` holds it. options: decide losses, discriminators and optimiser; their batch size does not
    count. in_pieces: the `batch_size` samples are a piece of a batch, beside the gradients of other pieces. sharers:
    processes that hold a part of the moments each. device: cpu, cuda, …; moments in the computer's memory
    (`models_opt_on_gpu` off) do not count on a GPU.
    Raises IncompatibleModel for a class that cannot be trained, InvalidOption for a GAN patch size that does not fit.
    """
    recipe, on_processor = recipe_for(model_class), device.partition(":")[0] == "cpu"
    typed = config_from_plain(recipe, config)
    net = imagined_network(model_class, config)
    require_patch_that_fits(typed, options)
    recompute(net, on=options.checkpointing)
    with torch.device("meta"):
        discriminators = discriminator_networks(typed, options, 0)
    learner = _learner(recipe, typed, options, precision, net, discriminators, faithful=faithful)
    networks = [net, *discriminators.values()]
    trained = _count(weight for network in networks for weight in _trained(network, recipe).values())
    every = _count(weight for network in networks for weight in network.parameters())
    averaged = _count(net.parameters()) if options.ema_decay else 0
    kept_here = on_processor or options.models_opt_on_gpu
    per_weight = 4 * len(optimiser_named(recipe.rates(options).kind).moment_names)
    width = precision.torch_dtype.itemsize
    copies = 0 if width == 4 else every * width
    gradients = width * _count(_trained(net, recipe).values())
    batch = partial(recipe.task.imagined_batch, typed.size, batch_size)
    peak = _step_peak(learner, batch, gradients, options, in_pieces=in_pieces, on_processor=on_processor)
    parts = (4 * (every + averaged), trained * per_weight // sharers if kept_here else 0, copies, peak)
    return MemoryNeed(*parts, overhead=_overhead(sum(parts), device))


def _step_peak(
    learner: Learner[Any],
    batch: Callable[[], Any],
    gradients: int,
    options: TrainOptions,
    *,
    in_pieces: bool,
    on_processor: bool,
) -> int:
    """Bytes of the peak of a step from such a batch. gradients: bytes of those of the network."""
    with _LiveBytes() as there:
        kept = learner.forward(batch())
        passing = there.peak - there.now
    del kept
    with _LiveBytes() as live:
        learner.learn(batch())
    peak: int = live.peak
    if on_processor:
        scattered = passing * (2 if options.checkpointing else 1)
        peak = max(peak, there.peak + gradients + scattered)
    elif in_pieces:
        peak = max(peak, there.peak + gradients)
    return peak


def swap_memory(
    model_class: str, config: Mapping[str, Any], precision: Precision, *, batch_size: int, device: str = "cpu"
) -> MemoryNeed:
    """What redrawing `batch_size` faces at once takes at its peak, in bytes; of XSeg, drawing masks."""
    net = imagined_network(model_class, config).to(precision.torch_dtype)
    size = int(config.get("size", 256))
    draw = getattr(net, "swap", None) or net
    with _LiveBytes() as live, torch.no_grad():
        draw(torch.zeros(batch_size, 3, size, size, device="meta"))
    weights = _count(net.parameters()) * precision.torch_dtype.itemsize
    return MemoryNeed(weights, 0, 0, live.peak, _overhead(weights + live.peak, device))


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operations make, for as long as anybody holds them."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        before = {id(tensor.untyped_storage()) for tensor in _tensors((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            storage = tensor.untyped_storage()
            if id(storage) not in before and id(storage) not in self._known:
                self._take(storage)
        return result

    def _take(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._give_back, key, size)

    def _give_back(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


class _ImaginedOptimiser:
    """An optimiser that has what a step asks for, and neither moments nor weights to change."""

    loss_scale = 1.0
    iterations = 0
    length = None
    device = torch.device("meta")

    def __init__(self, net: nn.Module, trained: Mapping[str, nn.Parameter], dtype: torch.dtype) -> None:
        self.parameters = dict(trained)
        self.constants = {name: weight for name, weight in net.named_parameters() if name not in trained}
        self._working = {
            name: weight if dtype is torch.float32 else _like(weight, dtype, is_leaf=name in trained)
            for name, weight in net.named_parameters()
        }

    def working(self) -> dict[str, Tensor]:
        return dict(self._working)

    def step(self) -> None:
        for tensor in self._working.values():
            tensor.grad = None


def _learner(
    recipe: Recipe,
    config: Any,
    options: TrainOptions,
    precision: Precision,
    net: nn.Module,
    others: Mapping[str, nn.Module],
    *,
    faithful: bool,
) -> Learner[Any]:
    def imagined(network: nn.Module) -> Optimiser:
        return cast(Optimiser, _ImaginedOptimiser(network, _trained(network, recipe), precision.torch_dtype))

    discriminators = {name: Discriminator(its, imagined(its)) for name, its in others.items()}
    return recipe.task.learner(
        net, imagined(net), recipe.objective(config, options, faithful), discriminators=discriminators
    )


def _trained(net: nn.Module, recipe: Recipe) -> dict[str, nn.Parameter]:
    return dict(recipe.parted(net)[0])


def _like(weight: Tensor, dtype: torch.dtype, *, is_leaf: bool) -> Tensor:
    return torch.empty_like(weight, dtype=dtype).requires_grad_(is_leaf)


def _tensors(values: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor))


def _count(tensors: Any) -> int:
    return sum(tensor.numel() for tensor in tensors)


def _overhead(peak: int, device: str) -> int:
    return math.ceil(peak * (OVERHEAD.get(device.partition(":")[0], OVERHEAD["cuda"]) - 1))
