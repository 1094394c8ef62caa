"""Makes docs/images/colour_modes.jpg: one src face in the colours of dst faces, by every mode of --ct-mode.

    python scripts/make_colour_modes.py

The faces are those of the demo's footage, so every picture on the sheet is altered, which it says.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from understudy.demo.footage import Performer, draw_shot
from understudy.demo.sheet import save_picture
from understudy.geometry import conversion
from understudy.imaging.colour_transfer import MODES, Where, transfer
from understudy.imaging.sheet import FAINT, Sheet
from understudy.masks.hull import face_hull
from understudy.records import FaceType

OUT = Path(__file__).resolve().parents[1] / "docs" / "images" / "colour_modes.jpg"
SIZE, GAP, TITLE, FRAME = 128, 6, 44, 20
LIGHTS = {"as filmed": (1.0, 1.0, 1.0), "tungsten": (1.1, 0.8, 0.5), "dusk": (0.4, 0.5, 0.75)}
"""What the light of the dst face is multiplied with, by R, G, B."""


def main() -> None:
    """Draw the sheet."""
    face, mask = crop(Performer.ASTRONAUT)
    partner, partner_mask = crop(Performer.ADMIRAL)
    columns = ["dst", "src, none", *MODES]
    sheet = Sheet(GAP + len(columns) * (SIZE + GAP), TITLE + len(LIGHTS) * (SIZE + GAP))
    sheet.write("Altered pictures: the portraits of the demo, animated and recoloured", GAP, 4, size=12, colour=FAINT)
    for column, name in enumerate(columns):
        sheet.write(name, GAP + column * (SIZE + GAP), TITLE - 20)
    for row, light in enumerate(LIGHTS.values()):
        lit = (partner * torch.tensor(light)[:, None, None]).clamp(0, 1)
        where = Where(mask, partner_mask)
        pictures = [lit, face, *(transfer(mode, face, lit, where, seeds=[1]) for mode in MODES)]
        for column, picture in enumerate(pictures):
            sheet.put(shown(picture), GAP + column * (SIZE + GAP), TITLE + row * (SIZE + GAP))
    save_picture(OUT, sheet.pixels)


def crop(performer: Performer) -> tuple[Tensor, Tensor]:
    """A face of the demo's footage, (1,3,S,S) RGB 0..1, and where it is, (1,1,S,S) bool."""
    shot = draw_shot(performer)
    frame, landmarks = shot.frame(FRAME), shot.truth.landmarks[FRAME]
    matrix = conversion(landmarks, SIZE, FaceType.WHOLE_FACE)
    hull = face_hull(landmarks, *frame.shape[:2])
    picture, mask = (cv2.warpAffine(image, matrix, (SIZE, SIZE)) for image in (frame, hull))
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255, torch.from_numpy(mask >= 0.5)[None, None]


def shown(picture: Tensor) -> NDArray[np.uint8]:
    """(1,3,S,S) RGB 0..1 as (S,S,3) uint8."""
    return np.asarray(np.rint(255 * picture[0].permute(1, 2, 0).numpy()), np.uint8)


if __name__ == "__main__":
    main()
