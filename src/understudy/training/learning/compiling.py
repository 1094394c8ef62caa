"""Passes through a network as kernels made for them by torch.compile, and as recorded graphs on a graphics card.

What is compiled is a function of tensors, weights among them: weights are exchanged at every call (`passes.py`), so
they cannot be part of what was compiled. Numbers differ by rounding from those of the plain pass.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from understudy.errors import InvalidOption
from understudy.training.options.machine import Compiling

Call = Callable[..., Any]


def compiled(call: Call, how: Compiling, device: torch.device, *, backend: str = "inductor") -> Call:
    """`call(tensors, *given)`, tensors by name first, as `how` says; the work is done when it is called first.

    The first call of each shape takes from seconds to minutes. With graphs the GPU is told of a whole pass at once
    instead of each kernel: the tensors by name must then stay where they are in memory between calls, as an optimiser's
    working copies do, and what a call returned is gone at the next one of the same step.
    Raises InvalidOption where there is no compiler, or no CUDA for graphs.
    """
    if how is Compiling.NO:
        return call
    if backend == "inductor":
        _require_compiler(device)
    if how is Compiling.YES:
        return torch.compile(call, dynamic=False, backend=backend)
    if device.type != "cuda":
        raise InvalidOption(
            f"Graphs are recorded on CUDA graphics cards only, not on {device.type}.",
            hint="Use --compile yes, or leave it out.",
        )
    return _Recorded(torch.compile(call, dynamic=False, backend=backend, mode="reduce-overhead"))


class _Recorded:
    """A compiled call whose weights are known to stay in place, so that recording copies none of them."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._known: dict[str, int] = {}

    def __call__(self, tensors: Mapping[str, Tensor], *given: object) -> Any:
        for name, tensor in tensors.items():
            if self._known.get(name) != tensor.data_ptr():
                torch._dynamo.mark_static_address(tensor)
                self._known[name] = tensor.data_ptr()
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        return self._call(tensors, *given)


def _require_compiler(device: torch.device) -> None:
    """Raise InvalidOption where kernels cannot be made, rather than in the middle of the first step."""
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            raise InvalidOption("--compile on CUDA needs Triton, which is not installed.", hint="Leave --compile out.")
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, RuntimeError) as error:
        raise InvalidOption(
            "--compile needs a C++ compiler, and there is none here.", hint="Install g++ or clang, or leave it out."
        ) from error
