"""What the fixtures rely on: one thread in every process of the suite."""

import torch


def test_tests_compute_with_one_thread() -> None:
    assert torch.get_num_threads() == 1
