"""Batches and episodes, their sources, loaders and benchmark suites."""

from moml.data.as_batch import as_batch
from moml.data.batch import Batch
from moml.data.bilevel_batch import BilevelBatch
from moml.data.bounds import Bounds
from moml.data.class_episodes import ClassEpisodes
from moml.data.episode_batch import EpisodeBatch
from moml.data.episodes import EpisodeList, EpisodeLoader, EpisodeSource
from moml.data.few_shot_suite import FewShotDefaults, FewShotSuite
from moml.data.held_out import Part, hold_out
from moml.data.inputs import TaskInputs
from moml.data.loader import BatchLoader, Loader, MultiLoader
from moml.data.prefetched import Prefetched, prefetched
from moml.data.source import DatasetSource, Source, TensorSource
from moml.data.stream import Stream
from moml.data.suite import Defaults, Suite, TaskSpec, loader_of
from moml.data.two_levels import TwoLevels

__all__ = [
    "Batch",
    "BatchLoader",
    "BilevelBatch",
    "Bounds",
    "ClassEpisodes",
    "DatasetSource",
    "Defaults",
    "EpisodeBatch",
    "EpisodeList",
    "EpisodeLoader",
    "EpisodeSource",
    "FewShotDefaults",
    "FewShotSuite",
    "Loader",
    "MultiLoader",
    "Part",
    "Prefetched",
    "Source",
    "Stream",
    "Suite",
    "TaskInputs",
    "TaskSpec",
    "TensorSource",
    "TwoLevels",
    "as_batch",
    "hold_out",
    "loader_of",
    "prefetched",
]
