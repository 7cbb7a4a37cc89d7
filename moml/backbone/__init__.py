"""Encoders, each with its feature width as ``out_features``, heads and layers."""

from moml.backbone.conv4 import Conv4
from moml.backbone.dense_encoder import DenseEncoder
from moml.backbone.heads import DenseHead, LinearHead, MLPHead
from moml.backbone.message_passing import MessagePassing
from moml.backbone.mlp import MLP
from moml.backbone.molecule_net import MoleculeNet
from moml.backbone.norms import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from moml.backbone.resnet8 import ResNet8
from moml.backbone.seeded_dropout import SeededDropout
from moml.backbone.small_cnn import SmallCNN

__all__ = [
    "MLP",
    "BatchNorm",
    "Conv4",
    "DenseEncoder",
    "DenseHead",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "LinearHead",
    "MLPHead",
    "MessagePassing",
    "MoleculeNet",
    "ResNet8",
    "SeededDropout",
    "SmallCNN",
]
