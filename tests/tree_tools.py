"""What tiny trees of files are made of."""

import numpy as np
from PIL import Image


def rng(seed=0):
    return np.random.default_rng(seed)


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def noise(draw, *shape):
    return draw.integers(0, 256, shape, dtype=np.uint8)
