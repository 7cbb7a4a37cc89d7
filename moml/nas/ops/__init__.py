"""Operations by name; each says what it costs."""

from moml.nas.ops._base import OpSpec, get_op, halved, op_names, register
from moml.nas.ops.average import AVG3, Average
from moml.nas.ops.conv import CONV1, CONV3, ReLUConvNorm
from moml.nas.ops.skip import SKIP, Skip
from moml.nas.ops.zero import NONE, Zero

__all__ = [
    "AVG3",
    "CONV1",
    "CONV3",
    "NONE",
    "SKIP",
    "Average",
    "OpSpec",
    "ReLUConvNorm",
    "Skip",
    "Zero",
    "get_op",
    "halved",
    "op_names",
    "register",
]
