"""Operations by name; each says what it costs."""

from moml.nas.ops._base import OpSpec, check_parameters, get_op, halved, op_names, register
from moml.nas.ops.average import AVG3, Average
from moml.nas.ops.conv import CONV1, CONV3, ReLUConvNorm
from moml.nas.ops.linear import (
    LINEAR1,
    LINEAR3,
    LINEAR5,
    LINEAR_AVG3,
    LinearAverage,
    LinearConv,
)
from moml.nas.ops.pool import AVG_POOL_3X3, MAX_POOL_3X3, Pool
from moml.nas.ops.sep_conv import (
    DIL_CONV_3X3,
    DIL_CONV_5X5,
    SEP_CONV_3X3,
    SEP_CONV_5X5,
    SepConv,
)
from moml.nas.ops.skip import SKIP, FactorizedReduction, Skip
from moml.nas.ops.zero import NONE, Zero

__all__ = [
    "AVG3",
    "AVG_POOL_3X3",
    "CONV1",
    "CONV3",
    "DIL_CONV_3X3",
    "DIL_CONV_5X5",
    "LINEAR1",
    "LINEAR3",
    "LINEAR5",
    "LINEAR_AVG3",
    "MAX_POOL_3X3",
    "NONE",
    "SEP_CONV_3X3",
    "SEP_CONV_5X5",
    "SKIP",
    "Average",
    "FactorizedReduction",
    "LinearAverage",
    "LinearConv",
    "OpSpec",
    "Pool",
    "ReLUConvNorm",
    "SepConv",
    "Skip",
    "Zero",
    "check_parameters",
    "get_op",
    "halved",
    "op_names",
    "register",
]
