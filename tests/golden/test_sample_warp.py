"""Given the reference's draws, a faithful training sample is the reference's: picture, target and masks.

OpenCV 4 rounds the position of every fetched pixel to 1/32 pixel, and so do faithful samples. What is left is a tenth
of a level; a pixel on the edge between two 32nds may fetch from the next one, which is two levels at steep edges. Crops
are made with the OpenCV that is installed, which does not round from version 5 on: a crop of another face type may be
off by 1/64 pixel on each axis, so by 1/64 of its slope.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.facesets import Face, read_face
from understudy.geometry import affine, conversion
from understudy.geometry.face_types import SHORT_NAMES
from understudy.imaging.types import Box
from understudy.imaging.warp import Border, gather_on_32nds
from understudy.masks import eyes_mouth_mask, face_mask
from understudy.records import FaceType
from understudy.training.batches.colours import ColourDraw, Partners
from understudy.training.batches.samples import Augmentation, augment
from understudy.training.batches.warp import Draw, Ranges, pixel_maps, transform, turn, warp
from understudy.training.faces.bank import convert_picture
from understudy.training.masking import samples as mask_samples

MAP_TOLERANCE_PX = 1 / 64 + 1e-3  # ours are on 32nds of a pixel
OFF_BY_PX = 1 / 64
ROUNDING = 1e-4  # of OpenCV's table of bicubic weights


def reference_draw(
    size: int, seed: int, warp_seed: int, *, scale: tuple[float, float], rotation: tuple[float, float], flip: bool
) -> Draw:
    """What the reference's two generators decide, in the order in which it asks them."""
    chance = np.random.RandomState(seed)
    angle = chance.uniform(*rotation)
    grown = chance.uniform(1 / (1 - scale[0]), 1 + scale[1])
    shift = [chance.uniform(-0.05, 0.05), chance.uniform(-0.05, 0.05)]
    mirrored = bool(flip and chance.randint(10) < 4)
    chance = np.random.RandomState(warp_seed)
    cell = size // (2, 4, 8)[chance.randint(3)]
    inner = size // cell - 1
    noise = np.array([truncated_normal(chance) for _ in range(2 * inner * inner)]).reshape(2, inner, inner)
    return Draw(size, cell, noise, turn(size, angle, grown, shift), mirrored)


def truncated_normal(chance: np.random.RandomState) -> float:
    while abs(value := chance.normal()) > 2.5:
        pass
    return float(value) / 2.5


def tensor(array: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.atleast_3d(array).astype(np.float32)).permute(2, 0, 1)[None]


def assert_close(ours: Tensor, expected: NDArray[Any], name: str) -> None:
    """A tenth of a level, but for two values in a thousand, which are on the other side of a rounding edge."""
    difference = np.abs(ours[0].permute(1, 2, 0).numpy() - np.atleast_3d(expected)) * 255
    assert difference.mean() <= 0.02, (name, difference.mean())
    assert np.mean(difference > 0.1) <= 2e-3, (name, np.mean(difference > 0.1))
    assert difference.max() <= 2, (name, difference.max())


def test_warp_and_transform(golden: Path) -> None:
    stored = np.load(golden / "warp" / "warp.npz")
    for case in json.loads((golden / "warp" / "warp.json").read_text()):
        key, size = case["key"], case["working_w"]
        drawn = reference_draw(
            size,
            case["rnd_seed"],
            case["warp_rnd_seed"],
            scale=case["scale_range"],
            rotation=case["rotation_range"],
            flip=case["flip_enabled"],
        )
        assert (drawn.cell, drawn.flip) == (case["cell_size"], case["flip"])
        np.testing.assert_allclose(drawn.matrix, stored[f"rmat|{key}"], atol=1e-9)
        maps = pixel_maps([drawn], torch.device("cpu"), faithful=True)
        np.testing.assert_allclose(maps[0, 0], stored[f"mapx|{key}"], atol=MAP_TOLERANCE_PX)
        np.testing.assert_allclose(maps[0, 1], maps[0, 0].T, atol=1 / 32)

        if size != case["w"]:  # below 64 pixels the reference works at 64, which no model does
            continue
        image, mask = tensor(stored[f"img|{key}"]), tensor(stored[f"mask|{key}"])
        turned = transform(image, [drawn], faithful=True)
        assert_close(warp(image, maps, faithful=True), stored[f"warp|{key}"], key)
        assert_close(turned, stored[f"transform|{key}"], key)
        both = transform(warp(image, maps, faithful=True), [drawn], faithful=True)
        assert_close(both, stored[f"warp_transform|{key}"], key)
        mask_turned = transform(mask, [drawn], mode="bilinear", border="zeros", faithful=True)
        assert_close(mask_turned, stored[f"mask_transform|{key}"], key)


def test_whole_samples(golden: Path) -> None:
    """From the face file to picture, target and both masks, with the colours of another face and random ones."""
    stored = np.load(golden / "warp" / "sample_processor.npz")
    cases = json.loads((golden / "warp" / "sample_processor.json").read_text())
    for number, case in cases.items():
        face = read_face(golden / "files" / "aligned_wf" / case["file"])
        size, face_type = case["resolution"], SHORT_NAMES[case["face_type"]]
        full = face_mask(face)
        eyes_mouth = eyes_mouth_mask(face.meta.landmarks, full)
        picture = converted(in_0_to_1(face), face, size, face_type)
        masks = np.stack([converted(each, face, size, face_type, mask=True) for each in (full, eyes_mouth)], -1)
        seed, flips = case["sample_rnd_seed"], case["random_flip"]
        sample = augment(
            tensor(picture),
            tensor(masks),
            [reference_draw(size, seed, seed, scale=(-0.15, 0.15), rotation=(-10, 10), flip=flips)],
            Augmentation(random_warp=case["warp"], colours_of_dst=case["ct_mode"] or "none", faithful=True),
            colours=[reference_colours(case["random_hsv"], seed, flips)] if case["random_hsv"] else None,
            partners=partners(golden, case, size),
        )
        assert sample.eyes_mouth is not None
        assert_close(sample.warped.flip(1), stored[f"warped|{number}"], f"warped {number}")
        assert_close(sample.target.flip(1), stored[f"target|{number}"], f"target {number}")
        assert_close(sample.mask, stored[f"mask|{number}"], f"mask {number}")
        assert_close(sample.eyes_mouth, stored[f"eyesmouth|{number}"], f"eyes and mouth {number}")
    assert len(stored.files) == 4 * len(cases)


def test_crops_of_another_face_type(golden: Path) -> None:
    """What the installed OpenCV makes of them lies within its rounding of what OpenCV 4 did."""
    for case in json.loads((golden / "warp" / "sample_processor.json").read_text()).values():
        face = read_face(golden / "files" / "aligned_wf" / case["file"])
        how = face, case["resolution"], SHORT_NAMES[case["face_type"]]
        ours, expected = (make(in_0_to_1(face), *how) for make in (convert_picture, converted))
        difference = np.abs(ours - expected)
        slopes = [np.abs(np.diff(expected, axis=axis)) for axis in (0, 1)]
        assert difference.mean() <= OFF_BY_PX * sum(slope.mean() for slope in slopes) + ROUNDING
        assert difference.max() <= OFF_BY_PX * sum(slope.max() for slope in slopes) + ROUNDING


def converted(
    picture: NDArray[np.float32], face: Face, size: int, face_type: FaceType, *, mask: bool = False
) -> NDArray[np.float32]:
    """`convert_picture` with OpenCV 4's rounding."""
    if face.meta.face_type == face_type:
        return convert_picture(picture, face, size, face_type, mask=mask)
    back = affine.invert(conversion(face.meta.landmarks, size, face_type))
    border = Border.BLACK if mask else Border.REPEAT
    return gather_on_32nds(picture, back, Box(0, 0, size, size), border=border, smooth=mask)


def in_0_to_1(face: Face) -> NDArray[np.float32]:
    return np.ascontiguousarray(face.rgb8, np.float32) / np.float32(255)


def reference_colours(power: float, seed: int, flips: bool) -> ColourDraw:
    """What the reference's generator says about colours, after the transform."""
    chance = np.random.RandomState(seed)
    chance.uniform(size=4)
    if flips:
        chance.randint(10)
    most = max(1, int(180 * power))
    hue = chance.randint(-most, most + 1)
    saturation, value = ((chance.random_sample() - 0.5) * power for _ in range(2))
    return ColourDraw(float(hue), saturation, value)


def partners(golden: Path, case: dict[str, Any], size: int) -> Partners | None:
    """The other face's whole picture, whatever its type."""
    if case["ct_sample"] is None:
        return None
    other = in_0_to_1(read_face(golden / "files" / "aligned_wf" / case["ct_sample"]))
    return Partners(tensor(cv2.resize(other, (size, size), interpolation=cv2.INTER_LINEAR)), None, [0], [0])


def test_the_mask_networks_samples_are_bent_by_the_same_draws(golden: Path) -> None:
    """They are bent one by one, by OpenCV; of the newest version, which does not round to 32nds of a pixel."""
    stored = np.load(golden / "warp" / "warp.npz")
    for case in json.loads((golden / "warp" / "warp.json").read_text()):
        key, size = case["key"], case["working_w"]
        if case["resize_back_to"] or not case["flip_enabled"] or case["rotation_range"] != [-10, 10]:
            continue
        ranges = Ranges(10, case["scale_range"][1], 0.05, flip_share=0.4)
        two = np.random.RandomState(case["rnd_seed"]), np.random.RandomState(case["warp_rnd_seed"])
        drawn = mask_samples.draw(size, ranges, *two)
        assert drawn.flip == case["flip"]
        np.testing.assert_allclose(drawn.matrix, stored[f"rmat|{key}"], atol=1e-9)
        np.testing.assert_allclose(mask_samples.warp_maps(drawn, faithful=True)[0], stored[f"mapx|{key}"], atol=2e-5)
        mask = np.asarray(stored[f"mask|{key}"][..., 0], np.float32)
        bent = mask_samples.bend(mask_samples.Labelled(stored[f"img|{key}"], mask), drawn, faithful=True)
        far = np.abs(bent.picture - stored[f"warp_transform|{key}"])
        assert far.mean() < 2e-3, key
        assert far.max() < 0.2, key
