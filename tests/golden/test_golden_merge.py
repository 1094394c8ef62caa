"""A faithful merge gives the reference program's pixels, for every case whose settings exist here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from understudy.compositing import ColorTransfer, MaskMode, MergeMode, MergeOptions
from understudy.compositing.compose import compose_faces
from understudy.imaging.types import Image, Mask
from understudy.options import Options
from understudy.records import FaceType

MASK_MODES = [
    "full",
    "dst",
    "learned-prd",
    "learned-dst",
    "learned-prd*learned-dst",
    "learned-prd+learned-dst",
    "XSeg-prd",
    "XSeg-dst",
    "XSeg-prd*XSeg-dst",
    "learned-prd*learned-dst*XSeg-prd*XSeg-dst",
]
COLOR_TRANSFERS = ["none", "rct", "lct", "mkl", "mkl-m", "idt", "idt-m", "sot-m", "mix-m"]
FACE_TYPES = {
    0: FaceType.HALF,
    1: FaceType.MID_FULL,
    2: FaceType.FULL,
    3: FaceType.FULL_NO_ALIGN,
    4: FaceType.WHOLE_FACE,
    10: FaceType.HEAD,
    20: FaceType.HEAD_NO_ALIGN,
}
ONLY_WITH_HIST_MATCH = ("masked_hist_match", "hist_match_threshold")
NOT_SETTINGS = ("sharpen_dict", "default_mode", "seconds", "face_type")


@dataclass(frozen=True)
class Case:
    """One merge of the reference program: what was set, and what came out (8-bit, truncated)."""

    name: str
    plate: Any
    landmarks: Any
    size: int
    face_type: FaceType
    options: MergeOptions
    expected: Any
    expected_mask: Any


def options_of(settings: dict[str, Any]) -> MergeOptions | None:
    """The settings as our options; None when they use something that is not built yet."""
    values = {name: value for name, value in settings.items() if name not in NOT_SETTINGS}
    values["mask_mode"] = MASK_MODES[values["mask_mode"]]
    values["color_transfer_mode"] = COLOR_TRANSFERS[values["color_transfer_mode"]]
    if "hist-match" not in values["mode"]:
        values = {name: value for name, value in values.items() if name not in ONLY_WITH_HIST_MATCH}
    choices: dict[str, Any] = {"mode": MergeMode, "mask_mode": MaskMode, "color_transfer_mode": ColorTransfer}
    if any(values[name] not in list(choice) for name, choice in choices.items()):
        return None
    unknown = values.keys() - MergeOptions.model_fields.keys()
    if any(values[name] for name in unknown):
        return None
    known: dict[str, Any] = {name: value for name, value in values.items() if name not in unknown}
    return MergeOptions.of(**known, faithful=True)


def cases(folder: Path) -> Iterator[Case]:
    """Every supported case of every frame in the golden folder."""
    for description in sorted((folder / "merge").glob("merge_*.json")):
        facts = json.loads(description.read_text())
        plate = cv2.imread(str(folder / "merge" / facts["frame"]))[..., ::-1].copy()
        with np.load(description.with_suffix(".npz")) as arrays:
            for name, settings in facts["cases"].items():
                options = options_of(settings)
                if options is None or f"bgrdelta|{name}" not in arrays:
                    continue
                yield Case(
                    f"{description.stem} {name}",
                    plate,
                    arrays["landmarks"],
                    facts["predictor_input_size"],
                    FACE_TYPES[settings["face_type"]],
                    options,
                    plate + arrays[f"bgrdelta|{name}"][..., ::-1],  # modulo 256
                    arrays[f"mask|{name}"],
                )


def ellipse(side: int, cx: float, cy: float, rx: float, ry: float, steepness: float) -> Mask:
    along = (np.arange(side, dtype=np.float32) + 0.5) / side
    distance = ((along[None, :] - cx) / rx) ** 2 + ((along[:, None] - cy) / ry) ** 2
    return np.clip((1 - distance) * steepness, 0, 1).astype(np.float32)


def synthetic_predictor(crop: Image) -> tuple[Image, Mask, Mask]:
    """The predictor that the golden cases were made with; its gains are per B, G, R."""
    side = len(crop)
    blurred = cv2.blur(crop, (3, 3), borderType=cv2.BORDER_REPLICATE)
    face = blurred * np.float32([1.12, 1.0, 0.85]) + np.float32([-0.04, 0.0, 0.06])
    return face, ellipse(side, 0.5, 0.52, 0.36, 0.44, 5), ellipse(side, 0.48, 0.5, 0.38, 0.42, 3)


def test_faithful_merge_matches_the_reference(golden: Path) -> None:
    """±1 level, image and mask; a handful of values may be ±2, where a coordinate lies between two 32nds of a pixel."""
    seen, wrong = 0, []
    for case in cases(golden):
        result = compose_faces(
            case.plate, list(case.landmarks), synthetic_predictor, case.size, case.face_type, case.options
        )
        height, width = case.plate.shape[:2]
        image = np.trunc(255 * result.on(case.plate)).astype(int)
        mask = np.trunc(255 * result.mask_of(height, width)).astype(int)
        for what, off in (("image", np.abs(image - case.expected)), ("mask", np.abs(mask - case.expected_mask))):
            if off.max() > 2 or (off > 1).sum() > 6:
                wrong.append(f"{case.name}: {what} off by {off.max()}, {(off > 1).sum()} values by more than 1")
        seen += 1
    assert not wrong, "\n".join(wrong)
    assert seen, "not one golden merge uses settings that exist"


def test_what_the_predictor_sees(golden: Path) -> None:
    """The crop handed to the network is the reference's, where it was recorded."""
    seen = 0
    for description in sorted((golden / "merge").glob("merge_*.json")):
        facts = json.loads(description.read_text())
        plate = cv2.imread(str(golden / "merge" / facts["frame"]))[..., ::-1].copy()
        with np.load(description.with_suffix(".npz")) as arrays:
            for name in (key for key in arrays if key.startswith("predictor_in|")):
                settings = facts["cases"][name.partition("|")[2]]
                crops: list[Image] = []

                def look(crop: Image, crops: list[Image] = crops) -> tuple[Image, Mask, Mask]:
                    crops.append(crop)
                    return synthetic_predictor(crop)

                compose_faces(
                    plate,
                    list(arrays["landmarks"]),
                    look,
                    facts["predictor_input_size"],
                    FACE_TYPES[settings["face_type"]],
                    MergeOptions(faithful=True),
                )
                closest = min(float(np.abs(crop - arrays[name][..., ::-1]).max()) for crop in crops)
                assert closest < 2e-3, name
                seen += 1
    if not seen:
        pytest.skip("no recorded predictor input in this golden set")


def test_settings_that_do_not_exist_are_not_mistaken_for_ours() -> None:
    """A guard of the test itself: an unknown setting that is in use makes a case unsupported."""
    assert issubclass(MergeOptions, Options)
    plain = {"mode": "overlay", "mask_mode": 4, "color_transfer_mode": 0, "face_type": 2, "sharpen_mode": 0}
    assert options_of(plain) is not None
    assert options_of({**plain, "sharpen_mode": 2}) is None or "sharpen_mode" in MergeOptions.model_fields
