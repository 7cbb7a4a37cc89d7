"""Atomic saves, two generations, and files that are not checkpoints."""

import pickle

import pytest
import torch

from moml.errors import CheckpointError
from moml.training.checkpoint import Checkpoint, read_state, write_atomically


def test_the_last_two_are_kept(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    for step in range(3):
        checkpoint.save({"step": step, "x": torch.full((2,), step)})
    assert read_state(checkpoint.last)["step"] == 2
    assert read_state(checkpoint.previous)["step"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["last.pt", "previous.pt"]


def test_a_truncated_last_one_falls_back_with_one_sentence(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"step": 1})
    checkpoint.save({"step": 2})
    checkpoint.last.write_bytes(checkpoint.last.read_bytes()[:100])
    with pytest.warns(
        UserWarning, match=r"`last.pt` should be a complete moml checkpoint.*previous.pt"
    ):
        assert checkpoint.load()["step"] == 1


def test_death_between_the_two_renames_leaves_the_previous_one(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save({"step": 1})
    checkpoint.last.rename(checkpoint.previous)
    assert checkpoint.load()["step"] == 1


def test_nothing_to_load(tmp_path):
    assert Checkpoint(tmp_path).load() is None


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"step": 1})])
def test_foreign_files(tmp_path, content):
    (tmp_path / "last.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="truncated or foreign"):
        Checkpoint(tmp_path, resume=True).load()


def test_tensors_of_someone_else(tmp_path):
    torch.save({"weights": torch.ones(1)}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError, match="should have format 'moml checkpoint 2'"):
        Checkpoint(tmp_path, resume=True).load()


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_code_is_never_executed(tmp_path, capsys):
    torch.save({"format": "moml checkpoint 2", "x": Evil()}, tmp_path / "last.pt")
    with pytest.raises(CheckpointError):
        Checkpoint(tmp_path, resume=True).load()
    assert "executed" not in capsys.readouterr().out


def test_an_occupied_folder_is_not_overwritten(tmp_path):
    Checkpoint(tmp_path).save({"step": 1})
    with pytest.raises(ValueError, match="should hold no checkpoint"):
        Checkpoint(tmp_path)
    assert Checkpoint(tmp_path, resume=True).load()["step"] == 1


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="should be a writable folder"):
        Checkpoint(tmp_path / "file")
    with pytest.raises(ValueError, match="should be a writable folder"):
        Checkpoint(tmp_path / "file" / "below")


@pytest.mark.refused("the disk is full: the file is named, the checkpoint before is kept")
def test_a_checkpoint_on_a_full_disk(tmp_path, monkeypatch):
    path = tmp_path / "last.pt"
    write_atomically({"step": 1}, path)
    full = OSError(28, "No space left on device")
    broken = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 12 vs 0")
    for error, found in ((full, "No space left on device"), (broken, "could not be finished")):
        monkeypatch.setattr("torch.save", lambda *_, error=error: (_ for _ in ()).throw(error))
        with pytest.raises(OSError, match=rf"last.pt' should be writable, found: .*{found}"):
            write_atomically({"step": 2}, path)
        assert [p.name for p in tmp_path.iterdir()] == ["last.pt"]
    assert read_state(path)["step"] == 1


def test_a_failing_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "best.pt"
    write_atomically({"step": 1}, path)
    with pytest.raises(AttributeError):
        write_atomically({"step": lambda: None}, path)  # cannot be stored
    assert read_state(path)["step"] == 1
