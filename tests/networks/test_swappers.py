"""Swappers of every family keep their promises: shapes, numbers of weights, wiring, types, compilers."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from understudy.networks.amp import Amp, AmpConfig
from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.families import FAMILIES
from understudy.networks.patch_discriminator import UnetPatchDiscriminator
from understudy.networks.saehd import DF, LIAE, SaehdConfig, code_grid, multiple_of, saehd_network
from understudy.networks.xseg import XSeg, XSegConfig
from understudy.records import Archi

ARCHIS = [
    f"{base}-{''.join(letters)}".removesuffix("-")
    for base in ("df", "liae")
    for count in range(5)
    for letters in itertools.combinations("udtc", count)
]
SMALL = {"ae_dims": 8, "e_dims": 4, "d_dims": 4, "d_mask_dims": 2}
SMALL_AMP = AmpConfig(size=64, inter_dims=10, morph_factor=0.5, **SMALL)


def small(archi: str, size: int = 64) -> DF | LIAE:
    config = SaehdConfig(size, archi=Archi.parse(archi), **SMALL)
    return saehd_network(config, generator=torch.Generator().manual_seed(0))


def small_amp() -> Amp:
    return Amp(SMALL_AMP, generator=torch.Generator().manual_seed(0))


def faces(count: int = 2, size: int = 64, seed: int = 1) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def sizes_of(net: nn.Module) -> dict[str, tuple[int, int]]:
    """Numbers and tensors of each part."""
    return {
        name: (sum(weight.numel() for weight in part.parameters()), len(part.state_dict()))
        for name, part in net.named_children()
    }


@pytest.mark.parametrize(
    ("archi", "size", "encoder", "inter", "decoder"),
    [
        ("df", 128, (4_306_560, 8), (14_959_872, 6), (19_136_000, 28)),
        ("df-ud", 128, (4_306_560, 8), (11_801_856, 6), (19_181_291, 36)),
        ("liae-ud", 128, (4_306_560, 8), (19_933_440, 6), (38_203_115, 36)),
        ("liae-udt", 128, (15_654_144, 18), (4_202_752, 4), (53_477_803, 44)),
        ("df-udt", 224, (15_654_144, 18), (9_646_592, 4), (34_455_979, 44)),
        ("df-t", 256, (15_654_144, 18), (25_231_616, 4), (34_410_688, 36)),
    ],
)
def test_they_have_the_published_numbers_of_weights(
    archi: str, size: int, encoder: tuple[int, int], inter: tuple[int, int], decoder: tuple[int, int]
) -> None:
    with torch.device("meta"):
        parts = sizes_of(saehd_network(SaehdConfig(size, archi=Archi.parse(archi))))
    assert parts.pop("encoder") == encoder
    assert {value for name, value in parts.items() if name.startswith("inter")} == {inter}
    assert {value for name, value in parts.items() if name.startswith("decoder")} == {decoder}


@pytest.mark.parametrize("archi", ARCHIS)
def test_every_architecture_draws_faces_of_its_size(archi: str) -> None:
    """At sizes drawn at random from all that may be, with odd dims, without computing anything."""
    chosen, draw = Archi.parse(archi), random.Random(archi)
    step = multiple_of(chosen)
    for size in [step, 64, 640, *draw.sample(range(64, 640, step), 3)]:
        dims = {name: draw.randint(1, 9) for name in SMALL}
        with torch.device("meta"):
            net = saehd_network(SaehdConfig(size, archi=chosen, **dims))
            src, dst = torch.empty(1, 3, size, size), torch.empty(2, 3, size, size)
            drawn, swapped = net(src, dst), net.swap(dst)
        assert [tuple(part.shape) for part in drawn] == [
            (1, 3, size, size),
            (1, 1, size, size),
            (2, 3, size, size),
            (2, 1, size, size),
        ]
        assert [tuple(part.shape) for part in swapped] == [(2, 3, size, size), *[(2, 1, size, size)] * 2]
        assert {part.dtype for part in (*drawn, *swapped)} == {torch.float32}
        if isinstance(net, DF):
            assert net.code(dst).shape == (2, dims["ae_dims"], code_grid(net.config), code_grid(net.config))


@pytest.mark.parametrize("size", [32, 64, 224, 640])
def test_amp_draws_faces_of_its_size(size: int) -> None:
    with torch.device("meta"):
        net = Amp(AmpConfig(size=size, inter_dims=5, **SMALL))
        drawn = net(torch.empty(1, 3, size, size), torch.empty(3, 3, size, size))
        swapped = net.swap(torch.empty(3, 3, size, size), 0.4)
    assert [len(part) for part in drawn] == [1, 1, 3, 3]
    assert {tuple(part.shape[2:]) for part in (*drawn, *swapped)} == {(size, size)}


def test_df_swaps_by_drawing_dst_with_the_decoder_of_src() -> None:
    """Were both decoders one, a swap would be a reconstruction."""
    net, face = small("df-ut"), faces()
    assert isinstance(net, DF)
    with torch.inference_mode():
        before = net.swap(face)
        net.decoder_src.load_state_dict(net.decoder_dst.state_dict())
        after, drawn = net.swap(face), net.reconstruct(face, face)
    torch.testing.assert_close(after.face, drawn.dst_dst)
    torch.testing.assert_close(after.mask_swap, drawn.dst_mask)
    torch.testing.assert_close(before.mask_dst, drawn.dst_mask)
    assert (before.face - after.face).abs().max() > 1e-3


def test_liae_swaps_by_what_both_people_share() -> None:
    """src is drawn from inter_AB alone, so a picture taken for dst and swapped is what it is when taken for src."""
    net, face = small("liae-udt"), faces()
    with torch.inference_mode():
        drawn, swapped = net.reconstruct(face, face), net.swap(face)
    torch.testing.assert_close(swapped.face, drawn.src_src)
    torch.testing.assert_close(swapped.mask_swap, drawn.src_mask)
    torch.testing.assert_close(swapped.mask_dst, drawn.dst_mask)
    assert (drawn.dst_dst - drawn.src_src).abs().max() > 1e-3


def test_liae_never_shows_src_to_inter_b() -> None:
    net = small("liae-ud")
    assert isinstance(net, LIAE)
    net.reconstruct(faces(), faces()).src_src.sum().backward()
    assert all(not weight.grad.any() for weight in net.inter_B.parameters() if weight.grad is not None)
    assert net.inter_AB.dense1.weight.grad is not None
    assert net.inter_AB.dense1.weight.grad.any()


def test_a_morph_of_none_draws_dst_and_of_one_draws_src() -> None:
    net, face = small_amp(), faces()
    everything = torch.ones(2, 10, 1, 1)
    with torch.inference_mode():
        drawn, whole = net.reconstruct(face, face), net.reconstruct(face, face, everything)
        none, one, unsaid = net.swap(face, 0.0), net.swap(face, 1.0), net.swap(face)
    torch.testing.assert_close(none.face, drawn.dst_dst)
    torch.testing.assert_close(one.face, whole.src_src)
    torch.testing.assert_close(unsaid.face, one.face, rtol=0, atol=0)
    assert (none.face - one.face).abs().max() > 1e-3


def test_every_face_may_have_a_morph_of_its_own() -> None:
    net, face = small_amp(), faces()
    with torch.inference_mode():
        together = net.swap(face, torch.tensor([0.25, 0.8])).face
        apart = torch.cat([net.swap(face[:1], 0.25).face, net.swap(face[1:], 0.8).face])
    torch.testing.assert_close(together, apart)


def test_a_morph_is_counted_in_float32() -> None:
    """0.29 × 100 is 28.999999999999996 in float64 and 29 in float32, which the reference computes in."""
    with torch.device("meta"):
        net = Amp(AmpConfig(size=32, **{**SMALL, "inter_dims": 100}))
    assert int(100 * 0.29) == 28
    assert int(net.morphed(0.29, torch.device("cpu")).sum()) == 29


def test_chosen_channels_draw_src_as_itself() -> None:
    """The first channels by default; a batch may bring its own choice, one for each face."""
    net, face = small_amp(), faces()
    first = net.first_channels(torch.tensor([5, 5]))
    with torch.inference_mode():
        default, given = net(face, face), net(face, face, first.float())
        other = net(face, face, 1 - first.float())
    torch.testing.assert_close(default.src_src, given.src_src)
    torch.testing.assert_close(default.dst_dst, other.dst_dst)
    assert (default.src_src - other.src_src).abs().max() > 1e-3


@pytest.mark.parametrize("archi", ["df", "df-udtc", "liae-ud", "amp"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-2), (torch.float16, 3e-3)])
def test_in_narrow_numbers_they_draw_nearly_the_same(archi: str, dtype: torch.dtype, tolerance: float) -> None:
    net, face = small_amp() if archi == "amp" else small(archi), faces()
    with torch.inference_mode():
        wide = net.swap(face)
        narrow = net.to(dtype).swap(face)
    assert {part.dtype for part in narrow} == {torch.float32}
    for ours, exact in zip(narrow, wide, strict=True):
        torch.testing.assert_close(ours, exact, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["liae-utdc", "amp"])
def test_a_compiler_takes_them_whole(name: str) -> None:
    """As one graph, for any morph, without asking a tensor for its value. Captured and run as it is."""
    net, face = small_amp() if name == "amp" else small(name), faces()
    morphs = [0.3, 0.7] if name == "amp" else [None]
    swap = torch.compile(net.swap, fullgraph=True, backend="eager")
    with torch.no_grad():
        for morph in morphs:
            for ours, eager in zip(swap(face, morph), net.swap(face, morph), strict=True):
                torch.testing.assert_close(ours, eager)


@pytest.mark.parametrize("name", ["df-ud", "liae-udt", "liae-c", "amp", "xseg", "gan", "code"])
def test_feature_maps_stay_channels_last(name: str) -> None:
    """A layer that got another layout would convert it, and everything after it would be slower."""
    net: nn.Module
    given: tuple[Tensor, ...] = (faces(), faces())
    if name == "xseg":
        net, given = XSeg(XSegConfig(size=64, base_dims=4)), (faces(),)
    elif name == "gan":
        net, given = UnetPatchDiscriminator(28, 4), (faces(),)
    elif name == "code":
        net, given = CodeDiscriminator(8, 8, 4), (torch.rand(2, 8, 8, 8),)
    else:
        net = small_amp() if name == "amp" else small(name)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    converted: list[str] = []

    def look(path: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if not inputs[0].is_contiguous(memory_format=torch.channels_last):
                converted.append(path)

        return hook

    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.register_forward_pre_hook(look(path))
    with torch.inference_mode():
        net(*given)
        if isinstance(net, DF | LIAE | Amp):
            net.swap(faces())
    assert not converted


def test_the_padding_of_the_one_by_one_head_takes_no_gradient() -> None:
    """The fused output convolution widens a 1×1 kernel; only its centre may learn."""
    for net in (small("df-d"), small("liae-td"), small_amp()):
        drawn = net.reconstruct(faces(), faces())
        (drawn.src_src.sum() + drawn.dst_dst.sum()).backward()
        heads = [part for name, part in net.named_modules() if name.endswith("out_conv")]
        assert heads
        for head in heads:
            assert isinstance(head, nn.Conv2d)
            assert head.weight.grad is not None
            assert head.weight.grad.shape == head.weight.shape
            assert head.weight.shape[-2:] == (1, 1)
            assert head.weight.grad.abs().sum() > 0


def test_everything_learns_but_what_a_loss_does_not_reach() -> None:
    for net in (small("df-udtc"), small("liae-udtc"), small_amp()):
        drawn = net.reconstruct(faces(), faces())
        torch.stack([part.square().sum() for part in drawn]).sum().backward()
        still = [name for name, weight in net.named_parameters() if weight.grad is None or not weight.grad.any()]
        assert not still


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.can_swap])
def test_the_same_generator_gives_the_same_network(name: str) -> None:
    family = FAMILIES[name]
    config = family.config(**{"size": 64, **SMALL})
    first, second, other = (
        family.build(config, generator=torch.Generator().manual_seed(seed)).state_dict() for seed in (5, 5, 6)
    )
    assert all(torch.equal(first[path], second[path]) for path in first)
    assert any(not torch.equal(first[path], other[path]) for path in first)
    assert all(not tensor.any() for path, tensor in first.items() if path.endswith("bias"))
