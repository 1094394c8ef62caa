"""S3FD: a face detector with anchors of six sizes (Zhang et al., ICCV 2017), as two programs of this field trained it.

    picture (B,3,H,W) less means ─ VGG trunk ─ six feature maps, strides 4 … 128 ─ score (B,h,w), box (B,4,h,w)

Submodule names are the tensor paths of both published weight files (`conv3_3_norm_mbox_conf`): renaming one breaks
reading them. Nothing here knows which colour order the weights expect; that is the caller's part.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

STRIDES = (4, 8, 16, 32, 64, 128)
HEADS = ("conv3_3_norm", "conv4_3_norm", "conv5_3_norm", "fc7", "conv6_2", "conv7_2")
NORM_EPSILON = 1e-10

CENTRE_VARIANCE, SIZE_VARIANCE = 0.1, 0.2


class ChannelNorm(nn.Module):
    """Each pixel's features scaled to length one, then each channel by a learned weight."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        length = x.pow(2).sum(dim=1, keepdim=True).sqrt() + NORM_EPSILON
        return x / length * self.weight.view(1, -1, 1, 1)


class S3FD(nn.Module):
    """The detector. The picture is (B, 3, H, W) float32 of 0..255 less the means that the weights were trained with."""

    def __init__(self) -> None:
        super().__init__()
        width = 3
        for block, (channels, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
            for number in range(1, count + 1):
                self.add_module(f"conv{block}_{number}", nn.Conv2d(width, channels, 3, padding=1))
                width = channels
        self.fc6 = nn.Conv2d(512, 1024, 3, padding=3)
        self.fc7 = nn.Conv2d(1024, 1024, 1)
        self.conv6_1 = nn.Conv2d(1024, 256, 1)
        self.conv6_2 = nn.Conv2d(256, 512, 3, stride=2, padding=1)
        self.conv7_1 = nn.Conv2d(512, 128, 1)
        self.conv7_2 = nn.Conv2d(128, 256, 3, stride=2, padding=1)
        for name, channels in (("conv3_3_norm", 256), ("conv4_3_norm", 512), ("conv5_3_norm", 512)):
            self.add_module(name, ChannelNorm(channels))
        for name, channels in zip(HEADS, (256, 512, 512, 1024, 512, 256), strict=True):
            # The finest map tells three kinds of background apart, since most false faces come from there.
            classes = 4 if name == HEADS[0] else 2
            self.add_module(f"{name}_mbox_conf", nn.Conv2d(channels, classes, 3, padding=1))
            self.add_module(f"{name}_mbox_loc", nn.Conv2d(channels, 4, 3, padding=1))

    def forward(self, picture: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Per stride: the probability of a face (B, h, w), and the box against its anchor (B, 4, h, w)."""
        answers = []
        for name, features in zip(HEADS, self._features(picture), strict=True):
            logits = self.get_submodule(f"{name}_mbox_conf")(features)
            if name == HEADS[0]:
                background = logits[:, :3].amax(dim=1, keepdim=True)
                logits = torch.cat([background, logits[:, 3:]], dim=1)
            answers.append((logits.softmax(dim=1)[:, 1], self.get_submodule(f"{name}_mbox_loc")(features)))
        return answers

    def _features(self, picture: Tensor) -> list[Tensor]:
        x, found = picture, []
        for block, count in enumerate((2, 2, 3, 3, 3), start=1):
            for number in range(1, count + 1):
                x = F.relu(self.get_submodule(f"conv{block}_{number}")(x))
            if block >= 3:
                found.append(self.get_submodule(f"conv{block}_3_norm")(x))
            x = F.max_pool2d(x, 2)
        x = F.relu(self.fc7(F.relu(self.fc6(x))))
        found.append(x)
        for step in (6, 7):
            x = F.relu(self.get_submodule(f"conv{step}_1")(x))
            x = F.relu(self.get_submodule(f"conv{step}_2")(x))
            found.append(x)
        return found


def boxes(answers: list[tuple[Tensor, Tensor]], threshold: float) -> list[Tensor]:
    """Decode the answers: per picture (n, 5) float32, left, top, right, bottom in input pixels and the probability.

    Only those above `threshold`, the finest map first, row by row; overlapping ones are all there.
    """
    found: list[list[Tensor]] = [[] for _ in range(answers[0][0].shape[0])]
    for stride, (scores, offsets) in zip(STRIDES, answers, strict=True):
        picture, row, column = (scores > threshold).nonzero(as_tuple=True)
        side = 4.0 * stride
        anchor = torch.stack([column, row], dim=1) * stride + stride / 2
        offset = offsets[picture, :, row, column]
        centre = anchor + offset[:, :2] * (CENTRE_VARIANCE * side)
        half = side * torch.exp(offset[:, 2:] * SIZE_VARIANCE) / 2
        decoded = torch.cat([centre - half, centre + half, scores[picture, row, column, None]], dim=1)
        for index in range(len(found)):
            found[index].append(decoded[picture == index])
    return [torch.cat(parts) for parts in found]
