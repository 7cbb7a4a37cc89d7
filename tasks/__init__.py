"""Benchmarks that need no download: many tasks on one network, and few-shot learning."""

from tasks.celeba import CelebA
from tasks.cifar10 import CIFAR10
from tasks.cifar100 import CIFAR100
from tasks.cifar_fs import CIFARFS
from tasks.cityscapes import Cityscapes
from tasks.deb_sinha import DebSinha
from tasks.digit_attributes import DigitAttributes
from tasks.digits import Digits
from tasks.font_adaptation import FontAdaptation
from tasks.font_domains import FontDomains
from tasks.glyphs import Glyphs
from tasks.graph_atlas import GraphAtlas
from tasks.linear_maml import LinearMAML
from tasks.mini_imagenet import MiniImageNet
from tasks.multi_mnist import MultiMNIST
from tasks.nb_digits import NBDigits
from tasks.nyuv2 import NYUv2
from tasks.office31 import Office31
from tasks.office_digits import OfficeDigits
from tasks.office_home import OfficeHome
from tasks.omniglot import Omniglot
from tasks.pawsx import PAWSX
from tasks.qm9 import QM9
from tasks.quadratic_bilevel import QuadraticBilevel
from tasks.rooms import Rooms
from tasks.sinusoid import Sinusoid
from tasks.two_digits import TwoDigits

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "CIFARFS",
    "PAWSX",
    "QM9",
    "CelebA",
    "Cityscapes",
    "DebSinha",
    "DigitAttributes",
    "Digits",
    "FontAdaptation",
    "FontDomains",
    "Glyphs",
    "GraphAtlas",
    "LinearMAML",
    "MiniImageNet",
    "MultiMNIST",
    "NBDigits",
    "NYUv2",
    "Office31",
    "OfficeDigits",
    "OfficeHome",
    "Omniglot",
    "QuadraticBilevel",
    "Rooms",
    "Sinusoid",
    "TwoDigits",
]
