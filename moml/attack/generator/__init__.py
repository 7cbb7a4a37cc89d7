"""Networks that perturb: one forward pass an attack, trained by the same loop as everything else.

>>> import torch
>>> from moml.architecture import HPS
>>> from moml.attack import Linf, Victim
>>> from moml.attack.generator import MTA, Aim, Generator, ImageDecoder, ImageEncoder
>>> encoder = ImageEncoder(1, width=4)
>>> heads = {task: ImageDecoder(encoder.out_features) for task in ("left", "right")}
>>> generator = Generator(HPS(encoder, heads), ball=Linf(0.1))
>>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(100, 10))
>>> problem = MTA(generator, {task: Aim(Victim(model)) for task in heads})
>>> [tuple(x.shape) for x in generator(torch.rand(3, 1, 10, 10)).values()]
[(3, 1, 10, 10), (3, 1, 10, 10)]
"""

from moml.attack.generator.adapt import decoder_only
from moml.attack.generator.aim import Aim
from moml.attack.generator.gap import GAP
from moml.attack.generator.generator import Generator
from moml.attack.generator.image_decoder import ImageDecoder
from moml.attack.generator.image_encoder import ImageEncoder
from moml.attack.generator.mta import MTA
from moml.attack.generator.preference_attack import PreferenceAttack
from moml.attack.generator.preference_generator import PreferenceGenerator
from moml.attack.generator.side_by_side import SideBySide
from moml.attack.generator.stealth import stealth

__all__ = [
    "GAP",
    "MTA",
    "Aim",
    "Generator",
    "ImageDecoder",
    "ImageEncoder",
    "PreferenceAttack",
    "PreferenceGenerator",
    "SideBySide",
    "decoder_only",
    "stealth",
]
