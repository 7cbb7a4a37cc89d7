"""A small ray-caster: image, classes, depth and normals of a scene, exact at every pixel.

A ray through a pixel is ``origin + t * direction`` with the direction scaled to length one along
the optical axis, so that ``t`` is the depth itself. Surfaces are met by the textbook quadratics and
slabs; what is nearest is seen. Colours are Lambert's law under one point light, with shadows.

World: x right, y up, z into the room (left-handed), in metres. Camera: x right, y down, z forward.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray

CLASSES = ("floor", "ceiling", "wall", "sphere", "box", "cylinder")
FLOOR, CEILING, WALL, SPHERE, BOX, CYLINDER = range(6)
EPSILON = 1e-4


@dataclass(frozen=True)
class Solid:
    """An object on the floor.

    Attributes:
        kind: ``SPHERE``, ``BOX`` or ``CYLINDER``.
        centre: Middle of the object, ``(3,)``.
        extent: Half its size along its own axes, ``(3,)``; a radius is ``extent[0]``.
        yaw: Rotation about the vertical axis, for boxes.
        colour: Albedo ``(3,)``.
    """

    kind: int
    centre: Array
    extent: Array
    yaw: float
    colour: Array


@dataclass(frozen=True)
class Scene:
    """A room, what stands in it, its light and the camera.

    Attributes:
        low: Corner of the room with the smallest coordinates, ``(3,)``.
        high: Corner with the largest, ``(3,)``.
        colours: Albedo of floor, ceiling and the walls at -x, +x, -z, +z, ``(6, 3)``.
        solids: The objects.
        light: Position of the light, ``(3,)``.
        ambient: Share of light that comes from everywhere.
        eye: Position of the camera, ``(3,)``.
        rotation: Camera to world, ``(3, 3)``.
        slope: Half the image's height at depth one.
    """

    low: Array
    high: Array
    colours: Array
    solids: tuple[Solid, ...]
    light: Array
    ambient: float
    eye: Array
    rotation: Array
    slope: float


@dataclass(frozen=True)
class View:
    """What the camera sees.

    Attributes:
        image: Colours in [0, 1], ``(3, H, W)``.
        classes: Index into `CLASSES`, ``(H, W)``.
        depth: Distance along the optical axis in metres, ``(H, W)``.
        normals: Unit vectors towards the viewer in camera coordinates, ``(3, H, W)``.
    """

    image: Array
    classes: Array
    depth: Array
    normals: Array


def camera_rays(size: tuple[int, int], slope: float) -> Array:
    """Directions through the pixel centres in camera coordinates, with z = 1, ``(H * W, 3)``."""
    height, width = size
    rows = (2 * (np.arange(height) + 0.5) / height - 1) * slope
    columns = (2 * (np.arange(width) + 0.5) / width - 1) * slope * width / height
    v, u = np.meshgrid(rows, columns, indexing="ij")
    return np.stack([u, v, np.ones_like(u)], axis=-1).reshape(-1, 3)


def render(scene: Scene, size: tuple[int, int]) -> View:
    """Cast one ray a pixel.

    Args:
        scene: What to look at.
        size: Height and width of the image.
    """
    directions = camera_rays(size, scene.slope) @ scene.rotation.T  # (P, 3), world
    depth, normals, classes, albedo = _first_hit(scene, scene.eye, directions)
    points = scene.eye + depth[:, None] * directions + EPSILON * normals
    to_light = scene.light - points
    distance = np.linalg.norm(to_light, axis=1)
    cosine = np.clip((normals * to_light).sum(1) / distance, 0, None)
    lit = ~_blocked(scene, points, to_light)
    light = scene.ambient + (1 - scene.ambient) * cosine * lit * 5 / (3 + distance)
    image = np.clip(albedo * light[:, None], 0, 1)
    return View(
        image.T.reshape(3, *size),
        classes.reshape(size),
        depth.reshape(size),
        (normals @ scene.rotation).T.reshape(3, *size),  # world to camera: the transpose
    )


def _first_hit(scene: Scene, eye: Array, directions: Array) -> tuple[Array, Array, Array, Array]:
    """Depth ``(P,)``, normals ``(P, 3)``, classes ``(P,)`` and albedo ``(P, 3)`` seen."""
    depth, normals, side = _meet_room(scene, eye, directions)
    classes = np.minimum(side, WALL)
    albedo = scene.colours[side]
    for solid in scene.solids:
        t, normal = _meet(solid, eye, directions)
        nearer = np.flatnonzero(t < depth)
        depth[nearer], normals[nearer] = t[nearer], normal[nearer]
        classes[nearer], albedo[nearer] = solid.kind, solid.colour
    return depth, normals, classes, albedo


def _blocked(scene: Scene, points: Array, to_light: Array) -> Array:
    """Whether a solid stands between each point and the light, ``(P,)``."""
    blocked = np.zeros(len(points), dtype=bool)
    for solid in scene.solids:
        blocked |= _meet(solid, points, to_light)[0] < 1
    return blocked


def _meet_room(scene: Scene, eye: Array, directions: Array) -> tuple[Array, Array, Array]:
    """Where rays from inside leave the room: depth, inward normals, row of ``colours``."""
    safe = np.where(np.abs(directions) < 1e-12, 1e-12, directions)
    exits = np.where(safe > 0, (scene.high - eye) / safe, (scene.low - eye) / safe)  # (P, 3)
    axis = exits.argmin(1)
    pixel = np.arange(len(axis))
    upward = safe[pixel, axis] > 0
    normals = np.zeros_like(directions)
    normals[pixel, axis] = np.where(upward, -1.0, 1.0)
    # Sides in the order of `colours`: y low, y high, x low, x high, z low, z high.
    side = np.array([2, 0, 4])[axis] + upward
    return exits[pixel, axis], normals, side


def _meet(solid: Solid, origins: Array, directions: Array) -> tuple[Array, Array]:
    """Nearest crossing in front of each ray's origin, ``inf`` if none, and the outward normal."""
    meet = {SPHERE: _meet_sphere, BOX: _meet_box, CYLINDER: _meet_cylinder}[solid.kind]
    return meet(solid, origins - solid.centre, directions)


def _meet_sphere(solid: Solid, origins: Array, directions: Array) -> tuple[Array, Array]:
    radius = solid.extent[0]
    t = _first_root(origins, directions, radius)
    hit = origins + np.where(np.isfinite(t), t, 0)[:, None] * directions
    return t, hit / radius


def _meet_box(solid: Solid, origins: Array, directions: Array) -> tuple[Array, Array]:
    cos, sin = np.cos(solid.yaw), np.sin(solid.yaw)
    turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])  # own axes to world
    o, d = origins @ turn, directions @ turn
    d = np.where(np.abs(d) < 1e-12, 1e-12, d)
    near = (-np.sign(d) * solid.extent - o) / d  # (P, 3), crossings of the three slabs
    far = (np.sign(d) * solid.extent - o) / d
    axis = near.argmax(1)
    pixel = np.arange(len(axis))
    t = near[pixel, axis]
    t = np.where((t < far.min(1)) & (t > EPSILON), t, np.inf)
    normals = np.zeros_like(d)
    normals[pixel, axis] = -np.sign(d[pixel, axis])
    return t, normals @ turn.T


def _meet_cylinder(solid: Solid, origins: Array, directions: Array) -> tuple[Array, Array]:
    """An upright cylinder: its side, then its top. The camera is never below it."""
    radius, half = solid.extent[0], solid.extent[1]
    o, d = np.broadcast_to(origins, directions.shape), directions
    side = _first_root(o[:, ::2], d[:, ::2], radius)
    finite = np.where(np.isfinite(side), side, 0)[:, None]
    at = o + finite * d
    side = np.where(np.abs(at[:, 1]) <= half, side, np.inf)
    down = np.where(d[:, 1] < 0, d[:, 1], -1e-12)
    top = (half - o[:, 1]) / down
    on_top = ((o[:, ::2] + np.clip(top, 0, 1e6)[:, None] * d[:, ::2]) ** 2).sum(1) <= radius**2
    top = np.where(on_top & (top > EPSILON) & (d[:, 1] < 0), top, np.inf)
    normals = at * np.array([1, 0, 1]) / radius
    normals[top < side] = (0, 1, 0)
    return np.minimum(side, top), normals


def _first_root(origins: Array, directions: Array, radius: float) -> Array:
    """Smallest positive ``t`` with ``|origin + t * direction| = radius``, seen from outside."""
    a = (directions**2).sum(1)
    b = (origins * directions).sum(-1)
    c = (origins**2).sum(-1) - radius**2
    discriminant = b**2 - a * c
    t = (-b - np.sqrt(np.clip(discriminant, 0, None))) / np.maximum(a, 1e-12)
    return np.where((discriminant > 0) & (t > EPSILON), t, np.inf)
