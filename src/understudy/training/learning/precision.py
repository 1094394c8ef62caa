"""How a machine computes best: number type, memory layout, threads. Measured once, kept, and stored with each model."""

from __future__ import annotations

import copy
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from understudy import files
from understudy.devices import computing_threads, cpu_model, physical_cores
from understudy.errors import InvalidOption, UnderstudyError
from understudy.files import parse_json
from understudy.records import PrecisionChoice

if TYPE_CHECKING:
    import torch
    from torch import nn

SCHEMA = 3
WORTHWHILE = 1.15
"""How much faster bfloat16 must be to be chosen: below that its coarser numbers buy nothing."""


_DTYPES = {PrecisionChoice.FP32: "float32", PrecisionChoice.BF16: "bfloat16", PrecisionChoice.FP16: "float16"}


@dataclass(frozen=True)
class Precision:
    """How a step is computed. Part of every checkpoint, and reused on resume so that a run stays itself.

    dtype: type of activations and gradients, `float32`, `bfloat16` or `float16`; the weights themselves stay float32.
    channels_last: kernels and feature maps in NHWC memory. threads: CPU threads inside one operation; 0 on a GPU.
    """

    dtype: str = "float32"
    channels_last: bool = True
    threads: int = 0

    @property
    def torch_dtype(self) -> torch.dtype:
        import torch

        found = getattr(torch, self.dtype)
        assert isinstance(found, torch.dtype)
        return found

    def as_json(self) -> dict[str, Any]:
        """Plain values for a checkpoint; `Precision.of` reads them back."""
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Precision:
        """Build from `as_json`'s values; those a newer version added are left out."""
        return cls(**{name: stored[name] for name in cls.__dataclass_fields__ if name in stored})


@dataclass(frozen=True)
class Measurement:
    """Milliseconds of the same small piece of training by number type, on one core."""

    fp32_ms: float
    bf16_ms: float

    @property
    def gain(self) -> float:
        """How many times faster bfloat16 is."""
        return self.fp32_ms / self.bf16_ms

    @property
    def precision(self) -> Precision:
        return Precision("bfloat16" if self.gain >= WORTHWHILE else "float32", True, computing_threads())


def choose(device: str = "cpu", choice: PrecisionChoice = PrecisionChoice.AUTO, *, measure: bool = True) -> Precision:
    """How to compute on `device`.

    A GPU takes bfloat16 where its hardware has it, else float32; nothing is timed there. A processor is measured for a
    second or two the first time and the result kept; measure=False only looks it up, and takes float32 when there is
    none. Raises InvalidOption for a number type that the device does not have.
    """
    kind = device.partition(":")[0]
    if choice is not PrecisionChoice.AUTO:
        _require(kind, choice)
        return Precision(_DTYPES[choice], True, computing_threads() if kind == "cpu" else 0)
    if kind == "cuda":
        return Precision("bfloat16" if _has_bfloat16(device) else "float32", True, 0)
    if kind != "cpu":
        return Precision("float32", True, 0)
    found = measured() or (measure_cpu() if measure else None)
    return found.precision if found else Precision("float32", True, computing_threads())


def keep_float32() -> None:
    """Let float32 mean float32 on graphics cards, for the whole process.

    By default cuDNN's convolutions round to TF32 there, ten bits of mantissa, and nobody is told. Who wants speed takes
    bfloat16, which is faster still; who asks for float32 wants its digits.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


def computing_in(net: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A float32 network for use in another number type: a copy with weights of that type, laid out as they are, which
    nobody trains; in float32 the network itself."""
    import torch

    if dtype is torch.float32:
        return net
    narrow = {id(weight): torch.nn.Parameter(weight.detach().to(dtype), False) for weight in net.parameters()}
    return copy.deepcopy(net, dict(narrow))  # which takes those in the place of copying


def measured() -> Measurement | None:
    """What was measured on this machine with this version of torch, if anything."""
    try:
        stored = parse_json(_record().read_text())
        if stored["schema"] == SCHEMA and stored["machine"] == machine():
            return Measurement(**stored["measurement"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # never measured, or written by another version: measured again
    return None


def measure_cpu(*, rounds: int = 7) -> Measurement:
    """Time a representative piece of a training step on the processor, keep the result, and give it back.

    On one core, where another busy program does least harm: on several, each operation waits for the slowest. The two
    number types take turns. Kernels are channels-last in every case: that is how the networks are written.
    """
    import torch

    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        times = _alternate({dtype: _piece_of_training(dtype) for dtype in (torch.float32, torch.bfloat16)}, rounds)
    finally:
        torch.set_num_threads(before)
    found = Measurement(round(times[torch.float32], 2), round(times[torch.bfloat16], 2))
    try:
        files.user_data_folder().mkdir(parents=True, exist_ok=True)
        files.write_json(_record(), {"schema": SCHEMA, "machine": machine(), "measurement": asdict(found)})
    except (OSError, UnderstudyError):
        pass  # a home that cannot be written to costs a second at each start, no more
    return found


def machine() -> dict[str, Any]:
    """What a measurement depends on."""
    import torch

    return {
        "processor": cpu_model(),
        "cores": psutil.cpu_count() or 1,
        "usable_cores": physical_cores(),
        "system": platform.system(),
        "torch": torch.__version__,
    }


def _record() -> Path:
    return files.user_data_folder() / "precision.json"


def _require(kind: str, choice: PrecisionChoice) -> None:
    if choice is PrecisionChoice.FP16 and kind != "cuda":
        raise InvalidOption(
            f"fp16 cannot be used on {kind}: only CUDA graphics cards compute well in it.",
            hint="Use --precision bf16 or fp32, or auto to let understudy choose.",
        )


def _has_bfloat16(device: str) -> bool:
    """Hardware support; torch's own question also counts emulation, which is slower than float32."""
    import torch

    return torch.cuda.get_device_capability(torch.device(device))[0] >= 8


def _piece_of_training(dtype: torch.dtype) -> Callable[[], object]:
    """Forward and backward of a 3×3 convolution as in the middle of a decoder, 8 GFLOP."""
    import torch
    from torch.nn import functional as F

    draw = torch.Generator().manual_seed(0)

    def tensor(*shape: int) -> torch.Tensor:
        made = torch.randn(shape, generator=draw).to(dtype)
        return made.contiguous(memory_format=torch.channels_last).requires_grad_()

    picture, kernel = tensor(4, 256, 24, 24), tensor(256, 256, 3, 3)

    def run() -> object:
        return torch.autograd.grad(F.conv2d(picture, kernel, padding=1), [picture, kernel], grad_outputs=picture)

    return run


def _alternate(pieces: Mapping[torch.dtype, Callable[[], object]], rounds: int) -> dict[torch.dtype, float]:
    """Least milliseconds of each, run in turn after one round that is not counted.

    The least and not the median: on a busy machine it is the round that was disturbed least that tells what the
    processor can do, and the choice is kept for long.
    """
    times: dict[torch.dtype, list[float]] = {dtype: [] for dtype in pieces}
    for turn in range(rounds + 1):
        for dtype, piece in pieces.items():
            start = time.perf_counter()
            piece()
            if turn:
                times[dtype].append(1000 * (time.perf_counter() - start))
    return {dtype: min(values) for dtype, values in times.items()}
