"""Networks made ready to draw: the same pictures with less work for each.

net = prepared(family.build(config), device="cpu", dtype=torch.bfloat16)
with torch.inference_mode():
    drawn = net.swap(faces)

On a processor every convolution and dense layer gets its weights in the order in which oneDNN's kernels read them.
PyTorch's own layers bring them into that order anew in every call, and leave small pictures one at a time to a kernel
that is several times slower: with 128 px and one face that was 40 % of the time. No compiler is needed, and none of
what it would gain beside this is left: fused activations measure within 1 %.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from understudy.devices import keep_freed_memory


class PackedConv(nn.Module):
    """A convolution whose weights lie as the kernel reads them. (B,i,h,w) → (B,o,h',w'), to be looked at no more."""

    def __init__(self, conv: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self._geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self._weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach().to(dtype), *self._geometry)
        self._bias = None if conv.bias is None else conv.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self._weight, self._bias, *self._geometry, "none", [], ""
        )
        return found


class PackedLinear(nn.Module):
    """A dense layer whose weights lie as the kernel reads them. weight: still says what type it computes in."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach().to(dtype).contiguous())
        self._bias = None if linear.bias is None else linear.bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self._bias, "none", [], "")
        return found


def prepared(
    net: nn.Module, *, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32, packed: bool = True
) -> nn.Module:
    """Change `net` into one that only draws: on `device`, in `dtype`, channels-last, without gradients. Gives it back.

    What it draws differs from the network before by the rounding of `dtype`; what is no convolution or dense layer
    stays float32. It can neither be trained nor saved any more. Layers are changed one by one and let go of what they
    were, so that no second copy of the network is needed. packed False: for torch.compile, which packs by itself.
    """
    where = torch.device(device)
    net.eval().requires_grad_(False)
    if where.type == "cpu":
        keep_freed_memory()
        if packed and can_pack(dtype):
            _pack(net, dtype)
    elif where.type == "cuda":
        torch.backends.cudnn.deterministic = True  # the same face gives the same bits
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            module.to(where, dtype)
    net.to(where)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return net


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this processor and this build of PyTorch have oneDNN's kernels for `dtype`."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    try:
        if dtype is torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return False
        with torch.inference_mode():
            face = torch.zeros(1, 4, 4, 4, dtype=dtype)
            PackedLinear(nn.Linear(4, 4), dtype)(PackedConv(nn.Conv2d(4, 4, 3, padding=1), dtype)(face))
    except (RuntimeError, AttributeError, TypeError):  # operators that belong to PyTorch's inside may change
        return False
    return dtype in (torch.float32, torch.bfloat16)


@torch.no_grad()
def _pack(module: nn.Module, dtype: torch.dtype) -> None:
    """Put packed layers in the place of those inside. What a module reads the weights of itself is left as it is."""
    for name, child in list(module.named_children()):
        if isinstance(child, nn.Linear):
            setattr(module, name, PackedLinear(child, dtype))
        elif type(child) is nn.Conv2d and name not in _READ_BY_HAND:
            setattr(module, name, PackedConv(child, dtype))
        else:
            _pack(child, dtype)


_READ_BY_HAND = frozenset({"out_conv", "out_conv1", "out_conv2", "out_conv3"})
"""The output convolutions, which `blocks.head` makes one convolution of."""
