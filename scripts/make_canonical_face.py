"""Makes src/understudy/geometry/canonical_face.json: the mean face in FaceMesh's 468 points, with triangles and a map.

    python scripts/make_canonical_face.py wheels/mediapipe-*.whl

The points are measured here: FaceMesh looks at two public-domain portraits that ship inside scikit-image and
matplotlib, many times in slightly different squares and mirrored; the answers are turned to face the camera, averaged
and made symmetric. The triangles are read from the edge list in the wheel (three edges in a row make one), and the
holes of eyes and mouth, which it leaves open, are filled across.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.optimize import linear_sum_assignment
from skimage import data

from understudy.detection.facemesh import FaceMesh, square_around
from understudy.detection.finder import MediapipeEngine
from understudy.detection.pictures import Picture, Square

OUT = Path(__file__).resolve().parents[1] / "src" / "understudy" / "geometry" / "canonical_face.json"
EDGES = "mediapipe/python/solutions/face_mesh_connections.py"
EYE_CORNERS = (33, 263)
EYE_CORNERS_CM = 9.0  # between the outer corners of the eyes of an average adult
FOREHEAD, CHIN = 10, 152
HOLES = (
    # lower edge with both corners, upper edge without them, each from image left to image right
    ((33, 7, 163, 144, 145, 153, 154, 155, 133), (246, 161, 160, 159, 158, 157, 173)),
    ((362, 382, 381, 380, 374, 373, 390, 249, 263), (398, 384, 385, 386, 387, 388, 466)),
    ((78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308), (191, 80, 81, 82, 13, 312, 311, 310, 415)),
)

Points = NDArray[np.float64]


def main(wheel: Path) -> None:
    astronaut = np.asarray(data.astronaut())
    hopper = np.asarray(
        Image.open(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg").convert("RGB")
    )
    faces = [measure(picture) for picture in (astronaut, hopper)]
    partner = mirror_partners(np.mean([normal(face) for face in faces], axis=0))
    face = np.mean([upright(face, partner) for face in faces], axis=0)
    face = upright(face, partner)
    mirrored = face[partner] * (-1, 1, 1)
    face = (face + mirrored) / 2
    face -= face.mean(axis=0) * (1, 1, 1)
    found = outward(triangles(wheel), face)
    body = {
        "schema": "understudy-canonical-face/1",
        "vertices": np.round(face, 4).tolist(),
        "triangles": found.tolist(),
        "uv": np.round(unwrapped(face), 4).tolist(),
        "mirror": partner.tolist(),
    }
    lines = [f'"{name}": {json.dumps(value, separators=(",", ":"))}' for name, value in body.items()]
    OUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(face)} vertices, {len(found)} triangles → {OUT}")


def measure(picture: NDArray[np.uint8], looks: int = 64) -> Points:
    """Mean mesh of the largest face over jittered squares, (468, 3) in pixels."""
    found = MediapipeEngine().find(np.ascontiguousarray(picture))[0]
    assert found.mesh is not None
    square, network, random = square_around(found.mesh), FaceMesh(), np.random.default_rng(0)
    meshes = []
    for _ in range(looks):
        shift, grow, turn = random.normal(0, 0.02, 2) * square.side, 1 + random.normal(0, 0.05), random.normal(0, 0.04)
        look = Square(square.x + shift[0], square.y + shift[1], square.side * grow, square.angle + turn)
        mesh, _presence = network.look(Picture(picture), look)
        mesh[:, 2] -= mesh[:, 2].mean()
        meshes.append(mesh.astype(np.float64))
    return np.mean(meshes, axis=0)


def normal(face: Points) -> Points:
    """Centred, in centimetres."""
    centred = face - face.mean(axis=0)
    return centred * EYE_CORNERS_CM / np.linalg.norm(centred[EYE_CORNERS[1]] - centred[EYE_CORNERS[0]])


def mirror_partners(face: Points) -> NDArray[np.int64]:
    """For each vertex the one on the other side of the face; those on the middle line are their own."""
    turned = face @ rotation_to_camera(face, face[EYE_CORNERS[1]] - face[EYE_CORNERS[0]]).T
    turned = turned - (turned[FOREHEAD] + turned[CHIN]) / 2 * (1, 0, 0)
    cost = np.linalg.norm(turned[:, None] * (-1, 1, 1) - turned[None], axis=2)
    _rows, partner = linear_sum_assignment(cost + cost.T)
    # A partner's partner must be oneself; ties on the middle line are settled by the assignment being symmetric.
    assert (partner[partner] == np.arange(len(face))).mean() > 0.97
    both = np.where(partner[partner] == np.arange(len(face)), partner, np.arange(len(face)))
    return both.astype(np.int64)


def upright(face: Points, partner: NDArray[np.int64]) -> Points:
    """Turn a face so that its left-right direction is x and its forehead is right above its chin."""
    face = normal(face)
    across = np.sum([face[b] - face[a] for a, b in enumerate(partner) if face[b, 0] > face[a, 0]], axis=0)
    turned = face @ rotation_to_camera(face, across).T
    middle = (turned + turned[partner] * (-1, 1, 1))[:, 0].mean() / 2
    return normal(turned - (middle, 0, 0))


def rotation_to_camera(face: Points, across: Points) -> Points:
    """Rows: the directions of the picture's right, down and away, seen from the face."""
    x = across / np.linalg.norm(across)
    down = face[CHIN] - face[FOREHEAD]
    y = down - (down @ x) * x
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)])


def triangles(wheel: Path) -> NDArray[np.int64]:
    """Triangles from the wheel's edge list and across the holes of eyes and mouth."""
    with zipfile.ZipFile(wheel) as archive:
        text = archive.read(EDGES).decode()
    block = re.search(r"FACEMESH_TESSELATION = frozenset\(\[(.*?)\]\)", text, re.DOTALL)
    assert block is not None
    edges = np.array([(int(a), int(b)) for a, b in re.findall(r"\((\d+),\s*(\d+)\)", block.group(1))])
    triples = edges.reshape(-1, 3, 2)
    assert (triples[:, :, 1] == np.roll(triples[:, :, 0], -1, axis=1)).all()
    filled = [triangle for lower, upper in HOLES for triangle in across(lower, upper)]
    return np.concatenate([triples[:, :, 0], np.array(filled)])


def across(lower: tuple[int, ...], upper: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangles between two edges of a hole that share their corners (lower has them)."""
    top = (lower[0], *upper, lower[-1])
    strip: list[tuple[int, int, int]] = []
    for index in range(len(lower) - 1):
        a, b, c, d = top[index], top[index + 1], lower[index], lower[index + 1]
        if a != c:
            strip.append((a, d, c))
        if b != d:
            strip.append((a, b, d))
    return strip


def outward(found: NDArray[np.int64], face: Points) -> NDArray[np.int64]:
    """Turn triangles so that neighbours agree, and all so that normals point out of the face, toward the camera."""
    found, done, queue = found.copy(), {0}, [0]
    at_edge: dict[frozenset[int], list[int]] = {}
    for number, (a, b, c) in enumerate(found.tolist()):
        for edge in ((a, b), (b, c), (c, a)):
            at_edge.setdefault(frozenset(edge), []).append(number)
    while queue:
        a, b, c = found[queue.pop(0)].tolist()
        for edge in ((a, b), (b, c), (c, a)):
            for neighbour in at_edge[frozenset(edge)]:
                if neighbour not in done:
                    x, y, z = found[neighbour].tolist()
                    if edge in ((x, y), (y, z), (z, x)):
                        found[neighbour] = (x, z, y)
                    done.add(neighbour)
                    queue.append(neighbour)
    assert len(done) == len(found)
    corners = face[found]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return found if normals[:, 2].sum() < 0 else found[:, ::-1]


def unwrapped(face: Points) -> Points:
    """Where each vertex lies in a picture of the face rolled off a cylinder, (468, 2) in 0..1."""
    depth = face[:, 2].max() + 2.0 - face[:, 2]
    flat = np.stack([np.arctan2(face[:, 0], depth), face[:, 1] / depth.max()], axis=1)
    low, high = flat.min(axis=0), flat.max(axis=0)
    return (flat - low) / (high - low)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
