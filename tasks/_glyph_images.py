"""Characters drawn with the fonts that matplotlib carries: no display, no download.

DejaVu (Bitstream Vera and Arev licences, public-domain changes), STIX (SIL Open Font License) and
Computer Modern (BaKoMa fonts licence), all inside matplotlib.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

SIDE = 28  # pixels of an image's side
EM = 19  # pixels of the font's size; the widest of the few-shot characters is 27 pixels wide
STYLES = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSans-BoldOblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "DejaVuSerif-BoldItalic",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSansMono-BoldOblique",
)
OVERSAMPLING = 4  # drawn larger, then averaged: hinting moves edges by less than 1/8 pixel


@cache
def glyphs(font: str, characters: str) -> Tensor:
    """Each character in the middle of an image, ``(N, 28, 28)`` in [0, 1], ink is 1.

    Args:
        font: Name of a font file of matplotlib, without ``.ttf``.
        characters: What to draw.
    """
    from PIL import Image, ImageDraw, ImageFont

    side, em = SIDE * OVERSAMPLING, EM * OVERSAMPLING
    face = ImageFont.truetype(font_file(font), em, layout_engine=ImageFont.Layout.BASIC)
    images = np.zeros((len(characters), SIDE, SIDE), np.uint8)
    for image, character in zip(images, characters, strict=True):
        sheet = Image.new("L", (2 * side, 2 * side))
        ImageDraw.Draw(sheet).text((em // 2, em // 2), character, fill=255, font=face)
        box = sheet.getbbox()
        assert box is not None, f"{font} draws nothing for {character!r}"
        left, top, right, bottom = box
        width, height = right - left, bottom - top
        assert max(width, height) <= side, f"{character!r} is too large"
        x, y = left - (side - width) // 2, top - (side - height) // 2  # ink in the middle
        image[:] = np.asarray(sheet.crop((x, y, x + side, y + side)).reduce(OVERSAMPLING))
    return torch.from_numpy(images) / 255


def stacked(fonts: Iterable[str], characters: str) -> Tensor:
    """Every character in every font, ``(N, F, 28, 28)``."""
    return torch.stack([glyphs(font, characters) for font in fonts], dim=1)


@cache
def font_file(font: str) -> str:
    """Path of a font file of matplotlib."""
    import matplotlib

    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf")
