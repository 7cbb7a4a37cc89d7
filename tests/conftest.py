"""One thread, and no test depends on what another drew."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread_and_a_fresh_seed():
    torch.set_num_threads(1)
    torch.manual_seed(0)
