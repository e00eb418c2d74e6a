"""Solids of flat convex faces: built once, then projected, culled and lit all faces at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from anomaly_seg_ros.scenes.camera import NEAR, clipped
from anomaly_seg_ros.scenes.canvas import SHIFT, Canvas
from anomaly_seg_ros.scenes.light import Light
from anomaly_seg_ros.scenes.texture import Colour, mix

Place = tuple[float, float, float]
DETAIL = 45.0  # m: beyond, windows and lamps are left out


@dataclass(frozen=True)
class Mesh:
    """Faces in the order of painting. Axes: x to the right, y up, z forward, metres."""

    points: np.ndarray  # float64 [P, 3], the corners of all faces
    starts: np.ndarray  # int [F + 1]: face k owns points[starts[k] : starts[k + 1]]
    bases: np.ndarray  # float64 [F, 3], a corner of each face
    normals: np.ndarray  # float64 [F, 3], unit, outward
    colours: np.ndarray  # float64 [F, 3]
    outer: np.ndarray  # bool [F]: faces that make the silhouette, and so the label
    lamps: tuple[tuple[Place, float, Colour], ...]  # place, radius, colour; on the front
    label: int
    far: Mesh | None  # the same with fewer faces, for farther than DETAIL


class Solid:
    """Collects the faces of a mesh."""

    def __init__(self, label: int, light: Light) -> None:
        self.label, self.light = label, light
        self.fine = False  # whether the faces that follow are details
        self.lamps: list[tuple[Place, float, Colour]] = []
        self._faces: list[np.ndarray] = []
        self._colours: list[Colour] = []
        self._outer: list[bool] = []
        self._fine: list[bool] = []

    def face(
        self, points: Sequence[Place], colour: Colour, outer: bool = False, gloss: float = 0.0
    ) -> None:
        """A flat convex face, corners counter-clockwise from outside. gloss: how much sky it
        mirrors, 0..1."""
        self._faces.append(np.asarray(points, float))
        self._colours.append(mix(colour, self.light.zenith, gloss))
        self._outer.append(outer)
        self._fine.append(self.fine)

    def across(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        half: tuple[float, float],
        colour: Colour,
        outer: bool = False,
        gloss: float = 0.0,
    ) -> None:
        """The face between two profile points (z, y) with half widths `half`; going forward, its
        outside is up."""
        (z0, y0), (z1, y1), (a, b) = start, end, half
        self.face([(-a, y0, z0), (-b, y1, z1), (b, y1, z1), (a, y0, z0)], colour, outer, gloss)

    def sides(
        self, outline: Sequence[Place], colour: Colour, outer: bool = False, gloss: float = 0.0
    ) -> None:
        """A face on both sides: corners (z, y, half width) going rear, top, front, bottom."""
        for sign in (-1, 1):
            points = [(sign * half, y, z) for z, y, half in outline]
            self.face(points if sign > 0 else points[::-1], colour, outer, gloss)

    def plate(
        self,
        z: float,
        across: tuple[float, float],
        up: tuple[float, float],
        colour: Colour,
        front: bool,
        outer: bool = False,
        lean: float = 0.0,
    ) -> None:
        """A rectangle on the front or the rear; `lean` moves its upper edge to the middle."""
        (left, right), (low, high) = sorted(across), up
        out = 0.012 if front else -0.012
        top = z + out - lean * (1 if front else -1)
        wall = [(right, low, z + out), (right, high, top), (left, high, top), (left, low, z + out)]
        self.face(wall if front else wall[::-1], colour, outer)

    def finished(self) -> Mesh:
        """The mesh."""
        coarse = [k for k, fine in enumerate(self._fine) if not fine]
        lamps = tuple(self.lamps)
        return self._mesh(range(len(self._faces)), lamps, self._mesh(coarse, lamps, None))

    def _mesh(
        self,
        chosen: Sequence[int],
        lamps: tuple[tuple[Place, float, Colour], ...],
        far: Mesh | None,
    ) -> Mesh:
        faces = [self._faces[k] for k in chosen]
        first, second, third = (np.array([face[k] for face in faces]) for k in range(3))
        normals = np.cross(second - first, third - first)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        return Mesh(
            points=np.concatenate(faces),
            starts=np.cumsum([0, *(len(face) for face in faces)]),
            bases=first,
            normals=normals,
            colours=np.array([self._colours[k] for k in chosen]),
            outer=np.array([self._outer[k] for k in chosen]),
            lamps=lamps,
            label=self.label,
            far=far,
        )


def paint_mesh(
    canvas: Canvas, mesh: Mesh, seen: np.ndarray, heading: float, brightness: float
) -> None:
    """Paint a mesh whose origin is at `seen` in camera axes [3], looking along `heading`."""
    distance = math.hypot(seen[0], seen[2])
    if distance > DETAIL and mesh.far is not None:
        mesh = mesh.far
    cos, sin = math.cos(heading), math.sin(heading)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    to_camera = canvas.rotation @ turn
    eye = -seen @ to_camera
    facing = np.einsum("ij,ij->i", eye - mesh.bases, mesh.normals) > 0
    light = canvas.light
    lit = light.on(mesh.normals @ turn.T) * brightness
    fade = light.fade(distance)
    colours = np.minimum(mesh.colours * lit[:, None], 255) * (1 - fade)
    tinted = (colours + fade * np.asarray(light.haze)).tolist()
    corners = mesh.points @ to_camera.T + seen
    starts = mesh.starts.tolist()
    outer = mesh.outer.tolist()
    whole = bool(corners[:, 2].min() >= NEAR)
    if whole:
        pixels = canvas.camera.project(corners)
        if not canvas.visible(pixels):
            return
        fixed = np.round(pixels * (1 << SHIFT)).astype(np.int32)
    for k in np.flatnonzero(facing).tolist():
        if whole:
            face = fixed[starts[k] : starts[k + 1]]
        else:
            cut = clipped(corners[starts[k] : starts[k + 1]])
            if cut is None:
                continue
            pixels = canvas.camera.project(cut)
            if not canvas.visible(pixels):
                continue
            face = np.round(pixels * (1 << SHIFT)).astype(np.int32)
        cv2.fillConvexPoly(canvas.image, face, tinted[k], cv2.LINE_AA, SHIFT)
        if outer[k]:
            cv2.fillConvexPoly(canvas.labels, face, mesh.label, cv2.LINE_8, SHIFT)
    for place, radius, colour in mesh.lamps:
        if eye[2] > place[2]:
            lamp = np.asarray(place) @ to_camera.T + seen
            if lamp[2] > NEAR:
                canvas.glow(lamp, radius, colour)
