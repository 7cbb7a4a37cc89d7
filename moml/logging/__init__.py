"""What a run leaves behind while it trains: metrics, TensorBoard events, lines on the terminal."""

from moml.logging._base import Log
from moml.logging.conflicts import Conflicts
from moml.logging.dominance import Dominance
from moml.logging.metrics_log import MetricsLog
from moml.logging.progress import Progress
from moml.logging.read import read_metrics
from moml.logging.tensorboard_log import TensorBoardLog

__all__ = [
    "Conflicts",
    "Dominance",
    "Log",
    "MetricsLog",
    "Progress",
    "TensorBoardLog",
    "read_metrics",
]
