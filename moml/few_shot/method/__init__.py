"""Few-shot methods by name, each a composition of a problem and an oracle."""

from moml.few_shot.method._base import FewShotComposition, MetaMethod, Setup
from moml.few_shot.method.anil import ANIL
from moml.few_shot.method.boil import BOIL
from moml.few_shot.method.fomaml import FOMAML
from moml.few_shot.method.imaml import IMAML
from moml.few_shot.method.maml import MAML
from moml.few_shot.method.maml_plus_plus import MAMLPlusPlus
from moml.few_shot.method.meta_sgd import MetaSGD
from moml.few_shot.method.proto_net import ProtoNet
from moml.few_shot.method.reptile import Reptile

__all__ = [
    "ANIL",
    "BOIL",
    "FOMAML",
    "IMAML",
    "MAML",
    "FewShotComposition",
    "MAMLPlusPlus",
    "MetaMethod",
    "MetaSGD",
    "ProtoNet",
    "Reptile",
    "Setup",
]
