"""The discriminators are built as the published table says, and a patch size can be found for every face."""

from __future__ import annotations

import pytest
import torch

from understudy.errors import InvalidOption
from understudy.networks.code_discriminator import CodeDiscriminator
from understudy.networks.patch_discriminator import UnetPatchDiscriminator, fits, fitting_patch_size, strides_for


def count(net: torch.nn.Module) -> tuple[int, int]:
    return sum(weight.numel() for weight in net.parameters()), len(net.state_dict())


def test_they_have_the_published_numbers_of_weights() -> None:
    with torch.device("meta"):
        assert count(UnetPatchDiscriminator(16, 16)) == (233_650, 20)
        assert count(UnetPatchDiscriminator(28, 16)) == (3_799_090, 28)
        assert count(UnetPatchDiscriminator(32, 16)) == (946_994, 24)
        assert count(CodeDiscriminator(256, 16))[0] == 6_949_633
        assert count(CodeDiscriminator(256, 8))[0] == 2_229_505


@pytest.mark.parametrize(
    ("first", "last", "strides"),
    [
        (3, 5, "2"),
        (6, 9, "22"),
        (10, 13, "212"),
        (122, 125, "212121212"),
        (182, 187, "221212122"),
        (188, 193, "2222212"),
        (236, 247, "222121212"),
        (344, 367, "222212122"),
        (432, 479, "222221212"),
        (480, 513, "22222222"),
        (560, 607, "222221222"),
        (608, 640, "222222122"),
    ],
)
def test_strides_of_a_patch_size(first: int, last: int, strides: str) -> None:
    wanted = tuple(map(int, strides))
    assert strides_for(first) == strides_for(last) == wanted
    assert all(strides_for(outside) != wanted for outside in (first - 1, last + 1) if 3 <= outside <= 640)


@pytest.mark.parametrize("patch_size", [-1, 2, 641])
def test_patch_sizes_that_there_are_not(patch_size: int) -> None:
    with pytest.raises(InvalidOption, match="from 3 to 640"):
        strides_for(patch_size)


def test_the_sizes_that_do_not_take_the_default_patch_size() -> None:
    assert [size for size in range(64, 641, 16) if not fits(size // 8, size)] == [496, 528, 560, 592, 624]


def test_every_size_finds_a_patch_size_near_by() -> None:
    """One that fits stays as it is; any other gives way to the nearest that does, and then the network is built."""
    for size in range(64, 641, 16):
        for wanted in (3, size // 8, size // 3, 640, 1000):
            patch_size = fitting_patch_size(wanted, size)
            assert fits(patch_size, size)
            if 3 <= wanted <= 640 and fits(wanted, size):
                assert patch_size == wanted
            else:
                nearer = range(wanted - abs(wanted - patch_size) + 1, wanted + abs(wanted - patch_size))
                assert not any(fits(other, size) for other in nearer if 3 <= other <= 640)
    assert fitting_patch_size(496 // 8, 496) == 61
    with pytest.raises(InvalidOption, match="15 px"):
        fitting_patch_size(16, 15)


@pytest.mark.parametrize("size", [64, 496, 528, 560, 592, 624, 640])
def test_it_judges_patches_and_pixels(size: int) -> None:
    with torch.device("meta"):
        net = UnetPatchDiscriminator(fitting_patch_size(size // 8, size), 4)
        center, full = net(torch.empty(2, 3, size, size))
    assert full.shape == (2, 1, size, size)
    side = size >> net.strides.count(2)
    assert center.shape == (2, 1, side, side)


@pytest.mark.parametrize(("grid", "side"), [(2, 2), (4, 3), (8, 3), (16, 3), (20, 3)])
def test_it_judges_codes(grid: int, side: int) -> None:
    with torch.device("meta"):
        logits = CodeDiscriminator(8, grid, 4)(torch.empty(2, 8, grid, grid))
    assert logits.shape == (2, 1, side, side)


def test_in_bfloat16_they_judge_nearly_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    gan, critic = UnetPatchDiscriminator(8, 4, generator=generator), CodeDiscriminator(4, 8, 4, generator=generator)
    face, code = torch.rand(2, 3, 32, 32, generator=generator), torch.rand(2, 4, 8, 8, generator=generator)
    with torch.inference_mode():
        wide = (*gan(face), critic(code))
        narrow = (*gan.to(torch.bfloat16)(face), critic.to(torch.bfloat16)(code))
    for ours, exact in zip(narrow, wide, strict=True):
        assert ours.dtype is torch.float32
        torch.testing.assert_close(ours, exact, rtol=0, atol=0.03)


def test_a_compiler_takes_them_whole() -> None:
    gan, critic = UnetPatchDiscriminator(10, 4), CodeDiscriminator(4, 8, 4)
    face, code = torch.rand(2, 3, 32, 32), torch.rand(2, 4, 8, 8)
    judge = torch.compile(gan, fullgraph=True, backend="eager")
    for ours, eager in zip(judge(face), gan(face), strict=True):
        torch.testing.assert_close(ours, eager)
    torch.testing.assert_close(torch.compile(critic, fullgraph=True, backend="eager")(code), critic(code))
