"""Multi-task architectures: how tasks share a network, whatever the encoder."""

from moml.architecture._base import Architecture, PerInput, head_dict
from moml.architecture._brought_network import GraphCheck, check_fit
from moml.architecture._gate import Gate
from moml.architecture._stages import Stages, towers
from moml.architecture._whole_model import WholeModel
from moml.architecture.cgc import CGC
from moml.architecture.cross_stitch import CrossStitch
from moml.architecture.dense_exchange import DenseExchange
from moml.architecture.dselect_k import DSelectK
from moml.architecture.hps import HPS
from moml.architecture.ltb import LTB
from moml.architecture.mmoe import MMoE
from moml.architecture.mtan import MTAN
from moml.architecture.nddr import NDDR
from moml.architecture.ple import PLE
from moml.architecture.safe_mtl import SafeMTL
from moml.architecture.sharing_table import SharingTable

__all__ = [
    "CGC",
    "HPS",
    "LTB",
    "MTAN",
    "NDDR",
    "PLE",
    "Architecture",
    "CrossStitch",
    "DSelectK",
    "DenseExchange",
    "Gate",
    "GraphCheck",
    "MMoE",
    "PerInput",
    "SafeMTL",
    "SharingTable",
    "Stages",
    "WholeModel",
    "check_fit",
    "head_dict",
    "towers",
]
