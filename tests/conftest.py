"""As many threads as asked for, and no test depends on what another drew."""

import os

import pytest
import torch

THREADS = int(os.environ.get("MOML_TEST_THREADS", "1"))


@pytest.fixture(autouse=True)
def _threads_and_a_fresh_seed():
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
