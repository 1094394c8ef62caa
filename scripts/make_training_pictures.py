"""Trains a small model on the demo's faces and makes the pictures of the guide that show a training.

    python scripts/make_training_pictures.py [FOLDER]

    docs/images/training_course.jpg     what the previews show after 1, 100, 400 and 1,000 iterations
    docs/images/preview_columns.jpg     a preview sheet with its columns named
    docs/images/loss_curve.png          the losses of that training
    docs/images/evaluation_curve.png    how it did on faces that were held out
    docs/images/training_end.jpg        the same model after a phase without random warp, and after one with a GAN

FOLDER keeps the workspace; what is trained there is not trained again. All of it takes five minutes of one core. The
faces are those of the demo's footage, so every picture of one is altered, which it says.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import understudy as us
from understudy.demo.footage import make_demo_footage
from understudy.demo.sheet import save_picture
from understudy.imaging.sheet import FAINT, Sheet
from understudy.media.options import FramesOptions
from understudy.records import FaceType

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
LABEL = "Altered pictures: the demo's portraits, animated and redrawn by understudy"
MODEL, SIZE, GAP, HEAD = "hello", 128, 6, 44
SETTINGS: dict[str, Any] = {
    "model": "saehd",
    "archi": "df-ud",
    "resolution": 64,
    "face_type": "f",
    "ae_dims": 64,
    "e_dims": 24,
    "d_dims": 24,
    "d_mask_dims": 16,
    "batch_size": 4,
    "optimiser": "adam",
    "learning_rate": 2e-4,
    "lr_warmup": 100,
    "hold_out": 0.25,
    "evaluate_every": 100,
    "preview_every": 0,
    "seed": 1,
    "threads": 1,
}
COURSE = (1, 100, 400, 1000)
UNBENT = 150
"""Iterations of the phase without random warp."""
ENDING = 120
"""Iterations of the last phase, with and without a GAN."""

ROWS = ["src, redrawn", "dst, redrawn", "dst as src"]

Picture = NDArray[np.uint8]


def main(arguments: list[str]) -> None:
    """Train, and draw the pictures."""
    with tempfile.TemporaryDirectory() as temporary:
        shot = workspace(Path(arguments[0] if arguments else temporary).absolute())
        stages = [trained(shot, MODEL, iteration) for iteration in COURSE]
        save_picture(IMAGES / "training_course.jpg", course(stages))
        for name in ("loss_curve.png", "evaluation_curve.png"):
            keep(shot.model(MODEL) / name, shot.root / "kept" / name)
            shutil.copyfile(shot.root / "kept" / name, IMAGES / name)
        ends = endings(shot, stages[-1])
        save_picture(
            IMAGES / "training_end.jpg", table({name: three_faces(sheet) for name, sheet in ends.items()}, ROWS)
        )
        save_picture(IMAGES / "preview_columns.jpg", named_columns(list(ends.values())[2]))


def workspace(folder: Path) -> us.Workspace:
    """The demo's two clips, and their faces."""
    us.init(folder)
    shot = us.Workspace.open(folder)
    make_demo_footage(folder)
    for side, fps in ((us.Side.SRC, 12.5), (us.Side.DST, 0)):
        us.extract_frames(shot, side, FramesOptions(fps=fps))
        us.extract(shot, side, us.ExtractOptions(face_type=FaceType.WHOLE_FACE, max_faces=1))
    return shot


def trained(shot: us.Workspace, name: str, iteration: int, **options: Any) -> Picture:
    """The preview sheet of a model trained up to an iteration: rows of five faces, uint8 RGB."""
    kept = shot.root / "kept" / f"{name}-{iteration}.png"
    if not kept.exists():
        us.train(shot, name, us.TrainOptions(**{**SETTINGS, **options}, target_iter=iteration))
        keep(shot.model(name) / "previews" / "SAEHD.png", kept)
    with Image.open(kept) as image:
        return np.asarray(image.convert("RGB"))


def keep(made: Path, kept: Path) -> None:
    """Copy what the first part of a training has made, before the next part makes it anew."""
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        shutil.copyfile(made, kept)


def endings(shot: us.Workspace, warped: Picture) -> dict[str, Picture]:
    """The preview sheets of the training's endings: as it was, unbent faces, and after that without and with a GAN."""
    unbent, last = COURSE[-1] + UNBENT, COURSE[-1] + UNBENT + ENDING
    sharp = trained(shot, MODEL, unbent, random_warp=False)
    if not shot.model("gan").exists():
        us.copy_model(shot, MODEL, "gan")
    return {
        f"{COURSE[-1]:,} with warp": warped,
        f"+ {UNBENT} unbent": sharp,
        f"+ {ENDING} unbent": trained(shot, MODEL, last, random_warp=False),
        f"+ {ENDING} with GAN 0.1": trained(shot, "gan", last, random_warp=False, gan_power=0.1),
    }


def three_faces(sheet: Picture) -> list[Picture]:
    """What `ROWS` names, of a preview sheet."""
    return [face(sheet, 1, 1), face(sheet, 1, 3), face(sheet, 1, 4)]


def course(sheets: list[Picture]) -> Picture:
    """What became of the same faces over the training."""
    columns = {"the faces": [face(sheets[0], 1, 0), face(sheets[0], 1, 2), face(sheets[0], 1, 2)]}
    for iteration, sheet in zip(COURSE, sheets, strict=True):
        columns[f"iteration {iteration:,}"] = three_faces(sheet)
    return table(columns, ROWS)


def named_columns(sheet: Picture) -> Picture:
    """A preview sheet, larger, with its columns named."""
    names = ["1  src", "2  src, redrawn", "3  dst", "4  dst, redrawn", "5  dst as src"]
    return table({name: [face(sheet, row, column) for row in range(3)] for column, name in enumerate(names)}, [])


def face(sheet: Picture, row: int, column: int) -> Picture:
    """One face of a preview sheet, (SIZE,SIZE,3)."""
    side = sheet.shape[1] // 5
    part = Image.fromarray(sheet[row * side : (row + 1) * side, column * side : (column + 1) * side])
    return np.asarray(part.resize((SIZE, SIZE), Image.Resampling.LANCZOS))


def table(columns: dict[str, list[Picture]], rows: list[str]) -> Picture:
    """Pictures in named columns, and named rows if there are names."""
    left = 96 if rows else GAP
    count = len(next(iter(columns.values())))
    drawn = Sheet(left + len(columns) * (SIZE + GAP), HEAD + count * (SIZE + GAP))
    drawn.write(LABEL, GAP, 4, size=12, colour=FAINT)
    for row, name in enumerate(rows):
        drawn.write(name, GAP, HEAD + row * (SIZE + GAP) + SIZE // 2 - 8, size=13)
    for place, (name, pictures) in enumerate(columns.items()):
        drawn.write(name, left + place * (SIZE + GAP), HEAD - 20, size=13)
        for row, picture in enumerate(pictures):
            drawn.put(picture, left + place * (SIZE + GAP), HEAD + row * (SIZE + GAP))
    return np.asarray(drawn.pixels)


if __name__ == "__main__":
    main(sys.argv[1:])
