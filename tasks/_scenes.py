"""Random furnished rooms."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from tasks._raycast import BOX, CYLINDER, SPHERE, Array, Scene, Solid


def random_scene(rng: Generator) -> Scene:
    """A room with three to six objects, seen from near its -z wall at about eye height."""
    width, height, length = rng.uniform((3.0, 2.3, 4.0), (6.0, 3.2, 8.0))
    low, high = np.array([-width / 2, 0, 0]), np.array([width / 2, height, length])
    eye = np.array([rng.uniform(-0.25, 0.25) * width, rng.uniform(1.3, 1.6), rng.uniform(0.3, 0.8)])
    yaw, pitch = np.deg2rad(rng.uniform((-25, 2), (25, 18)))
    solids = _furnish(rng, low, high, eye)
    light = low + (high - low) * rng.uniform((0.05, 0.55, 0.05), (0.95, 0.95, 0.4))
    return Scene(
        low=low,
        high=high,
        colours=rng.uniform(0.25, 1.0, (6, 3)),
        solids=solids,
        light=light,
        ambient=rng.uniform(0.15, 0.35),
        eye=eye,
        rotation=camera_rotation(yaw, pitch),
        slope=np.tan(np.deg2rad(55) / 2),
    )


def camera_rotation(yaw: float, pitch: float) -> Array:
    """Camera (x right, y down, z forward) to world (y up), ``(3, 3)``.

    Args:
        yaw: Turn to the right in radians.
        pitch: Look down in radians.
    """
    forward = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), np.cos(yaw) * np.cos(pitch)])
    right = np.array([np.cos(yaw), 0.0, -np.sin(yaw)])
    down = np.cross(right, forward)  # this way round: the world's axes are left-handed
    return np.stack([right, down, forward], axis=1)


def _furnish(rng: Generator, low: Array, high: Array, eye: Array) -> tuple[Solid, ...]:
    """Objects on the floor that touch neither each other, nor a wall, nor the camera."""
    solids: list[Solid] = []
    wanted = rng.integers(3, 7)
    for _ in range(40):
        if len(solids) == wanted:
            break
        kind = int(rng.choice([SPHERE, BOX, CYLINDER]))
        extent = rng.uniform((0.25, 0.25, 0.25), (0.6, 0.8, 0.6))
        if kind == SPHERE:
            extent[:] = extent[0]
        reach = np.hypot(extent[0], extent[2]) if kind == BOX else extent[0]
        x = rng.uniform(low[0] + reach, high[0] - reach)
        z = rng.uniform(1.5 + eye[2] + reach, max(high[2] - reach, 1.6 + eye[2] + reach))
        centre = np.array([x, extent[1], z])
        yaw, colour = rng.uniform(0, np.pi), rng.uniform(0.15, 1.0, 3)
        near = [
            np.hypot(*(centre - s.centre)[::2]) < reach + np.hypot(*s.extent[::2]) for s in solids
        ]
        if not any(near) and z + reach <= high[2]:
            solids.append(Solid(kind, centre, extent, yaw, colour))
    return tuple(solids)
