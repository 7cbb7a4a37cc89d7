"""Encoders, each with its feature width as ``out_features``, heads and layers."""

from moml.backbone.conv4 import Conv4
from moml.backbone.deep_lab_head import DeepLabHead
from moml.backbone.dense_encoder import DenseEncoder
from moml.backbone.heads import DenseHead, LinearHead, MLPHead
from moml.backbone.message_passing import MessagePassing
from moml.backbone.mlp import MLP
from moml.backbone.molecule_net import MoleculeNet
from moml.backbone.norms import BatchNorm, GroupNorm, InstanceNorm, LayerNorm
from moml.backbone.resnet import ResNet
from moml.backbone.resnet8 import ResNet8
from moml.backbone.seeded_dropout import SeededDropout, renew_masks
from moml.backbone.segnet import SegNet
from moml.backbone.segnet_heads import SegNetDecoder, SegNetHead
from moml.backbone.sentence_pair import SentencePair
from moml.backbone.small_cnn import SmallCNN
from moml.backbone.staged import Leveled, Staged
from moml.backbone.text_cnn import TextCNN, hash_tokens
from moml.backbone.vit import ViT

__all__ = [
    "MLP",
    "BatchNorm",
    "Conv4",
    "DeepLabHead",
    "DenseEncoder",
    "DenseHead",
    "GroupNorm",
    "InstanceNorm",
    "LayerNorm",
    "Leveled",
    "LinearHead",
    "MLPHead",
    "MessagePassing",
    "MoleculeNet",
    "ResNet",
    "ResNet8",
    "SeededDropout",
    "SegNet",
    "SegNetDecoder",
    "SegNetHead",
    "SentencePair",
    "SmallCNN",
    "Staged",
    "TextCNN",
    "ViT",
    "hash_tokens",
    "renew_masks",
]
