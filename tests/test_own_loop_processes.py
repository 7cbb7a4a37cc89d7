"""Two processes with loops of their own take the step of one."""

import pytest
import torch
import torch.multiprocessing as mp

import moml
from moml.weighting import MGDA
from tests.own_loop_processes import METHODS, train, work
from tests.test_own_loop import TASKS, Trunk, inputs


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What every process found."""
    folder = tmp_path_factory.mktemp("own_loops")
    mp.spawn(work, args=(2, str(folder)), nprocs=2)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def same(found, case):
    for mine, first in zip(found[1][case], found[0][case], strict=True):
        assert torch.equal(mine, first)


def equal(found, case, alone):
    same(found, case)
    for mine, whole in zip(found[0][case], alone, strict=True):
        torch.testing.assert_close(mine, whole, rtol=1e-9, atol=1e-11)


@pytest.mark.supported
@pytest.mark.parametrize("method", METHODS)
def test_data_parallel_loop_of_ones_own_with_group(found, method):
    equal(found, method, train(METHODS[method], lambda x: x, None))


@pytest.mark.supported
@pytest.mark.parametrize("method", ["EW", "MGDA"])
def test_model_wrapped_in_distributed_data_parallel_with_group(found, method):
    equal(found, f"wrapped {method}", train(METHODS[method], lambda x: x, None))


@pytest.mark.supported
def test_data_parallel_representation_gradients(found):
    """Gradients on samples are in the process that has them; their Gramians add up."""
    same(found, "representation")
    alone = train(MGDA, lambda x: x, None, representation=True)
    for mine, whole in zip(found[0]["representation"], alone, strict=True):
        torch.testing.assert_close(mine, whole, rtol=1e-9, atol=1e-11)


@pytest.mark.supported
def test_data_parallel_loop_with_a_gradient_scaler(found):
    equal(found, "scaler", train(MGDA, lambda x: x, None))


@pytest.mark.supported
def test_tasks_absent_in_some_processes(found):
    """A loss is the mean over the processes that have the task."""
    same(found, "absent")
    model, weighting = Trunk(), MGDA().setup(TASKS)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for seed in range(3):
        optimizer.zero_grad()
        first, second = (model.losses(part) for part in inputs(seed).chunk(2))
        losses = {"a": (first["a"] + second["a"]) / 2, "b": first["b"], "c": second["c"]}
        moml.backward(losses, weighting)
        optimizer.step()
    alone = torch.cat([p.detach().flatten() for p in model.parameters()])
    torch.testing.assert_close(found[0]["absent"][0], alone, rtol=1e-9, atol=1e-11)


@pytest.mark.supported
def test_processes_that_train_apart_pass_a_group_of_one(found):
    for rank in range(2):
        alone = train(MGDA, lambda x, rank=rank: x.chunk(2)[rank], None)
        torch.testing.assert_close(found[rank]["alone"], alone, rtol=1e-9, atol=1e-11)


@pytest.mark.supported
def test_processes_with_other_seeds_and_a_method_that_draws(found):
    same(found, "other seeds")


@pytest.mark.refused("the networks would stay apart")
def test_networks_that_differ_between_processes_at_first(found):
    for one in found:
        assert "`inputs` should be the same in all processes" in one["refusals"]["other"]


@pytest.mark.refused("each process would weigh its own losses: pass `group=`")
def test_several_processes_without_group(found):
    for one in found:
        assert "`group` should be given where 2 processes were started" in one["refusals"]["alone"]
        assert "`inputs` should be given with `group`" in one["refusals"]["inputs"]


@pytest.mark.refused("parameters should be whole in every process")
def test_fully_sharded_model_in_a_loop_of_ones_own(found):
    for one in found:
        assert "found a sharded one (FSDP, DTensor)" in one["refusals"]["sharded"]


@pytest.mark.refused("the hook would see the gradient of one process alone")
def test_hooks_after_accumulation_in_several_processes(found):
    for one in found:
        assert "hooks after accumulation" in one["refusals"]["hooks"]
