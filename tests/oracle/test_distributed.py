"""Two and three processes take the step of one."""

import pytest
import torch
import torch.multiprocessing as mp

import moml
from moml.oracle import Direct, Distributed
from tests.helpers import batch, network, problem
from tests.oracle.distributed_cases import cases, flat, regularised, trained, work

CASES = cases()


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def found(request, tmp_path_factory):
    """What every process found."""
    folder = tmp_path_factory.mktemp("processes")
    mp.spawn(work, args=(request.param, str(folder)), nprocs=request.param)
    return [torch.load(folder / f"{rank}.pt") for rank in range(request.param)]


@pytest.mark.parametrize("case", CASES)
def test_processes_together_find_what_one_finds(found, case):
    alone = CASES[case](lambda oracle: oracle, lambda data: data)
    for one in found:
        for mine, whole in zip(one[case], alone, strict=True):
            torch.testing.assert_close(mine, whole, rtol=1e-9, atol=1e-11)
        for mine, first in zip(one[case], found[0][case], strict=True):
            assert torch.equal(mine, first)  # they must never drift apart


def test_the_penalty_is_the_mean_of_the_processes(found):
    (alone,) = regularised(lambda oracle: oracle, lambda data: data)
    for one in found:
        torch.testing.assert_close(one["regularised"][0], alone)


def test_the_first_process_decides_weights_and_statistics(found):
    for one in found[1:]:
        for mine, first in zip(one["starts alike"], found[0]["starts alike"], strict=True):
            assert torch.equal(mine, first)


def test_a_nan_anywhere_is_named_everywhere(found):
    for one in found:
        assert "Step 1" in one["not finite"] and "'a', 'b', 'c'" in one["not finite"]


def test_a_signal_to_one_stops_all_and_they_resume(found):
    ends = [one["stopped"] for one in found]
    assert ends[1][0] == "SIGTERM after step 2 of 6"
    assert ends[0][0] == "a signal to another process after step 2 of 6"
    assert all(torch.equal(end[1], ends[0][1]) for end in ends)
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    data = [batch(seed=s) for s in range(1, 4)]
    moml.fit(problem(model), Direct(), moml.weighting.CAGrad(), optimizer, data, steps=6)
    torch.testing.assert_close(ends[0][1], flat(model), rtol=1e-6, atol=1e-8)


def test_whole_gradients_of_representations_are_refused(found):
    assert all(one["refused"] == "refused" for one in found)


def test_without_a_process_group_it_says_so():
    with pytest.raises(ValueError, match="process group should be started before, found none"):
        Distributed(Direct())


def test_two_levels_are_refused():
    from moml.bilevel import Bilevel, InnerSGD, Unrolled

    with pytest.raises(ValueError, match="Direct, Accumulated or Representation, found Bilevel"):
        Distributed(Bilevel(InnerSGD(0.1, steps=1), Unrolled()))


def test_cases_are_not_trivial():
    before = flat(network())
    after = trained(lambda oracle: oracle, lambda data: data, moml.weighting.EW())[0]
    assert (after - before).norm() > 1e-2
