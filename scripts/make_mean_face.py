"""Make geometry/mean_face.py: the rigid 68-point face by which head pose is measured.

    python scripts/make_mean_face.py --golden FOLDER

The shape is the canonical face of geometry/canonical.py, its 468 points brought to 68. Three numbers bring its angles
to the scale that users of existing facesets know: a tilt about the x axis (what counts as looking straight ahead), and
the face's height and depth relative to its width. They are fitted by least squares (soft L1) to the pitch and yaw that
golden/geometry/landmarks.npz records for its landmarks; nothing else of that file is used.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from understudy.detection.mesh import MESH_TO_68
from understudy.geometry import canonical
from understudy.geometry.landmarks import MIRROR
from understudy.geometry.pose import pose_against

TARGET = Path(__file__).resolve().parents[1] / "src" / "understudy" / "geometry" / "mean_face.py"

Array = npt.NDArray[np.float64]


def canonical_68() -> Array:
    """The canonical face in 68 points (68, 3), left and right made alike, in centimetres."""
    vertices = canonical.vertices().astype(np.float64)
    face = np.array([vertices[list(indices)].mean(axis=0) for indices in MESH_TO_68])
    return np.asarray((face + face[MIRROR] * (-1, 1, 1)) / 2)


def shaped(face: Array, tilt: float, height: float, depth: float) -> Array:
    """The face stretched along y and z, turned about x by `tilt` radians, around the mean of its points."""
    turn = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    made = (face * (1, height, depth)) @ turn.T
    return np.asarray(made - made.mean(axis=0))


def golden_poses(folder: Path) -> list[tuple[Array, int, Array]]:
    """(landmarks (N, 68, 2), size, pitch and yaw (N, 2) in radians) of every recorded alignment."""
    stored = np.load(folder / "geometry" / "landmarks.npz")
    found = []
    for name in stored.files:
        kind, *rest = name.split("|")
        if kind == "pyr":
            found.append((stored["|".join(["aligned", *rest])], int(rest[1]), stored[name][:, :2]))
    return found


def residuals(face: Array, poses: list[tuple[Array, int, Array]]) -> Array:
    """Differences of pitch and yaw in degrees, (N, 2)."""
    rows = []
    for landmarks, size, expected in poses:
        made = [pose_against(points, size, face) for points in landmarks]
        rows.append(np.degrees(np.array([(angle.pitch, angle.yaw) for angle in made]) - expected))
    return np.concatenate(rows)


def module_text(face: Array, numbers: Array, medians: Array) -> str:
    rows = "\n".join(f"        ({x:.3f}, {y:.3f}, {z:.3f})," for x, y, z in face + 0.0)
    tilt, height, depth = numbers
    return f'''"""The rigid face by which head pose is measured. Made by scripts/make_mean_face.py; do not edit.

It is the canonical face of this package in 68 points with three fitted numbers. With it the golden poses are met within
{medians[0]:.2f}° of pitch and {medians[1]:.2f}° of yaw in the median.
"""

from __future__ import annotations

import numpy as np

TILT, HEIGHT, DEPTH = {tilt:.5f}, {height:.5f}, {depth:.5f}
"""The canonical face's height and depth times this, then turned by so many radians about x."""

MEAN_FACE = np.array(
    [
{rows}
    ],
    np.float64,
)
"""(68, 3) in centimetres: x to the right of the image, y down, z away from the camera."""

POSED_BY = np.array([*range(27), *range(30, 36)])
"""The 33 landmarks that do not move with expression: jaw, brows, nose below the bridge."""
'''


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--golden", type=Path, required=True)
    poses = golden_poses(parser.parse_args().golden)
    face = canonical_68()
    fit = least_squares(
        lambda numbers: residuals(shaped(face, *numbers), poses).ravel(),
        (-0.1, 1.0, 1.0),
        loss="soft_l1",
        diff_step=1e-3,
    )
    made = shaped(face, *fit.x.round(5))
    medians = np.median(np.abs(residuals(made, poses)), axis=0)
    TARGET.write_text(module_text(made, fit.x, medians), encoding="utf-8")
    print(f"tilt, height, depth: {fit.x.round(4)}; median error of pitch and yaw: {medians.round(2)} degrees")


if __name__ == "__main__":
    main()
