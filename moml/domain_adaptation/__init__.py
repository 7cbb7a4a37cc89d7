"""Domain adaptation with few labels, on the bi-level engine."""

from moml.domain_adaptation.cosine_classifier import CosineClassifier
from moml.domain_adaptation.domain_adaptation import DomainAdaptation
from moml.domain_adaptation.minimax_entropy import MinimaxEntropy

__all__ = ["CosineClassifier", "DomainAdaptation", "MinimaxEntropy"]
