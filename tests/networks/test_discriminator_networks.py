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


STRIDES = """
3:2 6:22 10:212 14:222 18:2122 22:2212 26:21212 30:2222 34:21222 38:22122 42:212122 46:22212 50:212212 54:221212
58:2121212 62:22222 66:212222 70:221222 74:2121222 78:222122 82:2122122 86:2212122 90:21212122 94:222212
98:2122212 102:2212212 106:21212212 110:2221212 114:21221212 118:22121212 122:212121212 126:222222 130:2122222
134:2212222 138:21212222 142:2221222 146:21221222 150:22121222 154:212121222 158:2222122 162:21222122
166:22122122 170:212122122 174:22212122 178:212212122 182:221212122 188:2222212 194:21222212 198:22122212
202:212122212 206:22212212 210:212212212 214:221212212 220:22221212 226:212221212 230:221221212 236:222121212
248:2222222 258:21222222 262:22122222 266:212122222 270:22212222 274:212212222 278:221212222 284:22221222
290:212221222 294:221221222 300:222121222 312:22222122 322:212222122 326:221222122 332:222122122 344:222212122
368:22222212 386:212222212 390:221222212 396:222122212 408:222212212 432:222221212 480:22222222 514:212222222
518:221222222 524:222122222 536:222212222 560:222221222 608:222222122
"""
"""From which patch size on which strides, the first layer first."""


def test_strides_of_every_patch_size() -> None:
    steps = [line.split(":") for line in STRIDES.split()]
    ends = [int(first) for first, _ in steps[1:]] + [641]
    for (first, strides), end in zip(steps, ends, strict=True):
        for patch_size in range(int(first), end):
            assert strides_for(patch_size) == tuple(map(int, strides)), patch_size


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
def test_it_tells_patches_and_pixels(size: int) -> None:
    with torch.device("meta"):
        net = UnetPatchDiscriminator(fitting_patch_size(size // 8, size), 4)
        center, full = net(torch.empty(2, 3, size, size))
    assert full.shape == (2, 1, size, size)
    side = size >> net.strides.count(2)
    assert center.shape == (2, 1, side, side)


@pytest.mark.parametrize(("grid", "side"), [(2, 2), (4, 3), (8, 3), (16, 3), (20, 3)])
def test_it_tells_codes(grid: int, side: int) -> None:
    with torch.device("meta"):
        logits = CodeDiscriminator(8, grid, 4)(torch.empty(2, 8, grid, grid))
    assert logits.shape == (2, 1, side, side)


def test_in_bfloat16_they_tell_nearly_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    gan, of_codes = UnetPatchDiscriminator(8, 4, generator=generator), CodeDiscriminator(4, 8, 4, generator=generator)
    face, code = torch.rand(2, 3, 32, 32, generator=generator), torch.rand(2, 4, 8, 8, generator=generator)
    with torch.inference_mode():
        wide = (*gan(face), of_codes(code))
        narrow = (*gan.to(torch.bfloat16)(face), of_codes.to(torch.bfloat16)(code))
    for ours, exact in zip(narrow, wide, strict=True):
        assert ours.dtype is torch.float32
        torch.testing.assert_close(ours, exact, rtol=0, atol=0.03)


def test_a_compiler_takes_them_whole() -> None:
    gan, of_codes = UnetPatchDiscriminator(10, 4), CodeDiscriminator(4, 8, 4)
    face, code = torch.rand(2, 3, 32, 32), torch.rand(2, 4, 8, 8)
    compiled = torch.compile(gan, fullgraph=True, backend="eager")
    for ours, eager in zip(compiled(face), gan(face), strict=True):
        torch.testing.assert_close(ours, eager)
    torch.testing.assert_close(torch.compile(of_codes, fullgraph=True, backend="eager")(code), of_codes(code))
