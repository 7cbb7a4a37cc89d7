"""Encoders, each with its feature width as ``out_features``, and task heads."""

from moml.backbone.dense_encoder import DenseEncoder
from moml.backbone.heads import DenseHead, LinearHead, MLPHead
from moml.backbone.message_passing import MessagePassing
from moml.backbone.mlp import MLP
from moml.backbone.resnet8 import ResNet8
from moml.backbone.small_cnn import SmallCNN

__all__ = [
    "MLP",
    "DenseEncoder",
    "DenseHead",
    "LinearHead",
    "MLPHead",
    "MessagePassing",
    "ResNet8",
    "SmallCNN",
]
