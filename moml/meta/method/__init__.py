"""Few-shot methods by name, each a composition of a problem and an oracle."""

from moml.meta.method._base import Composition, MetaMethod, Setup
from moml.meta.method.anil import ANIL
from moml.meta.method.boil import BOIL
from moml.meta.method.fomaml import FOMAML
from moml.meta.method.imaml import IMAML
from moml.meta.method.maml import MAML
from moml.meta.method.maml_plus_plus import MAMLPlusPlus
from moml.meta.method.meta_sgd import MetaSGD
from moml.meta.method.proto_net import ProtoNet
from moml.meta.method.reptile import Reptile

__all__ = [
    "ANIL",
    "BOIL",
    "FOMAML",
    "IMAML",
    "MAML",
    "Composition",
    "MAMLPlusPlus",
    "MetaMethod",
    "MetaSGD",
    "ProtoNet",
    "Reptile",
    "Setup",
]
