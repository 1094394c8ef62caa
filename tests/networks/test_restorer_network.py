"""The restorer's network: a face of any size in, the same face out until something is learned."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from understudy.networks.restorer import Restorer, RestorerConfig, places, restore

SMALL = RestorerConfig(width=16, coarse_width=16, blocks=1, coarse_blocks=1)


def net(seed: int = 0) -> Restorer:
    return Restorer(SMALL, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("side", [8, 64, 90, 97])
def test_untrained_it_gives_the_face_back(side: int) -> None:
    face = torch.rand(2, 3, side, side, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(restore(net(), face), face, atol=1e-6, rtol=0)


def test_the_same_seed_draws_the_same_network() -> None:
    first, second, other = net(3).state_dict(), net(3).state_dict(), net(4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_places_of_a_crop_are_those_of_the_whole_face() -> None:
    """A crop must look to the network as it does inside the whole face."""
    whole = places(np.zeros(1, np.int64), np.zeros(1, np.int64), 64, 64)
    crop = places(np.array([16]), np.array([24]), 32, 64)
    torch.testing.assert_close(crop[0], whole[0, :, 4:12, 6:14])
    assert whole.shape == (1, 2, 16, 16)
    assert float(whole.abs().max()) < 1


def test_what_it_adds_inside_does_not_depend_on_what_is_far_outside() -> None:
    """Faces are learned in crops and restored whole: away from the edge both must agree."""
    learned = net()
    with torch.no_grad():
        learned.tail.weight.normal_(0, 0.05, generator=torch.Generator().manual_seed(0))
    face = torch.rand(1, 3, 192, 192, generator=torch.Generator().manual_seed(2))
    whole = restore(learned, face)
    part = learned(face[..., 48:144, 48:144], places(np.array([48]), np.array([48]), 96, 192)).clamp(0, 1)
    middle = slice(44, 52)
    torch.testing.assert_close(part[..., middle, middle], whole[..., 92:100, 92:100], atol=1e-4, rtol=0)
