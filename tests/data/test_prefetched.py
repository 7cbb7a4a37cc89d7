"""Reading ahead changes when batches are read, not which."""

import threading
import time

import pytest
import torch

import moml
from moml.__main__ import main
from moml.architecture import HPS
from moml.data import Loader, Prefetched, Source, TensorSource, TwoLevels
from moml.data.batch import Batch
from moml.data.stream import LoaderStream
from moml.jobs.multitask import MultiTaskJob
from tasks import TwoDigits


class Noted(Source):
    """Notes what is asked for, and by whom."""

    def __init__(self, wait=0.0):
        self.wait, self.asked, self.threads = wait, [], set()

    def __len__(self):
        return 40

    def batch(self, indices):
        time.sleep(self.wait)
        self.asked.append(indices.tolist())
        self.threads.add(threading.get_ident())
        if 39 in indices.tolist():
            raise ValueError("sample 39 is damaged")
        return Batch(indices.float(), {"a": indices})

    def view(self, indices, generator):
        batch = self.batch(indices)
        return Batch(batch.inputs + torch.rand(len(indices), generator=generator), batch.targets)


class Half(Noted):
    def __len__(self):
        return 30


def test_the_same_batches_in_whatever_order():
    plain = Loader(Half(), 4, shuffle=True, seed=2)
    ahead = Prefetched(Loader(Half(), 4, shuffle=True, seed=2), workers=3)
    for number in (0, 1, 2, 3, 9, 10, 2, 40, 41):
        assert torch.equal(plain.batch(number).inputs, ahead.batch(number).inputs)


def test_a_pass_reads_every_batch_once_and_no_more():
    source = Half()
    batches = list(Prefetched(Loader(source, 4), workers=2))
    assert torch.equal(torch.cat([b.inputs for b in batches]), torch.arange(30.0))
    time.sleep(0.05)
    assert len(source.asked) == 8
    assert threading.get_ident() not in source.threads


def test_a_damaged_sample_is_reported_where_its_batch_is_taken():
    ahead = Prefetched(Loader(Noted(), 10), workers=1)
    assert len(ahead.batch(2).inputs) == 10
    with pytest.raises(ValueError, match="sample 39 is damaged"):
        ahead.batch(3)


def test_a_stream_resumes_at_the_same_batch():
    streams = [LoaderStream(Prefetched(Loader(Half(), 4, shuffle=True), 2)) for _ in range(2)]
    for _ in range(5):
        next(streams[0])
    streams[1].load_state_dict(streams[0].state_dict())
    assert torch.equal(next(streams[0]).inputs, next(streams[1]).inputs)


def test_two_levels_and_waiting_overlaps_with_work():
    def loaders():
        return TwoLevels([Loader(Half(0.02), 4, shuffle=True)], Loader(Half(0.02), 4, shuffle=True))

    ahead, plain = Prefetched(loaders(), workers=2), loaders()
    started = time.perf_counter()
    for number in range(8):
        ahead.batch(number)
        time.sleep(0.03)  # a step somewhere else
    overlapped = time.perf_counter() - started
    started = time.perf_counter()
    for number in range(8):
        one = plain.batch(number)
        time.sleep(0.03)
    assert overlapped < 0.9 * (time.perf_counter() - started)
    assert torch.equal(ahead.batch(7).upper.inputs, one.upper.inputs)


def test_runs_do_not_depend_on_who_reads(tmp_path):
    from safetensors.torch import load_file

    weights = []
    for workers in ("0", "2"):
        folder = tmp_path / workers
        options = ["--suite", "TwoDigits", "--steps", "6", "--batch_size", "8", "--eval_every", "6"]
        assert main(["train", *options, "--workers", workers, "--run_dir", str(folder)]) == 0
        weights.append(load_file(folder / "weights.safetensors"))
    assert all(torch.equal(w, weights[1][name]) for name, w in weights[0].items())


def test_numbers_of_threads():
    loader = Loader(TensorSource(torch.arange(4.0), {"a": torch.arange(4)}), 2)
    with pytest.raises(ValueError, match="`workers` should be at least 1, found 0"):
        Prefetched(loader, 0)


@pytest.mark.parametrize("workers", [0, 2])
def test_the_trainer_reads_ahead_if_asked_to(monkeypatch, workers):
    readers, read = set(), Loader.batch

    def noted(self, number):
        readers.add(threading.current_thread() is threading.main_thread())
        return read(self, number)

    monkeypatch.setattr(Loader, "batch", noted)
    trainer = MultiTaskJob(TwoDigits(), None, HPS, batch_size=32, steps=2, workers=workers)
    parts = trainer.composition()
    moml.fit(parts.problem, parts.oracle, parts.weighting, parts.updater, parts.stream, steps=2)
    assert readers == {workers == 0}
