"""Tables of small cells, all of them trained and attacked: architecture search in milliseconds."""

from tasks.nb_digits.benchmark import Accuracies, NBDigits, Record

__all__ = ["Accuracies", "NBDigits", "Record"]
