"""The step that the benchmark times on a GPU is the loop's, and runs on any device."""

import torch

from tests.benchmarks.training_gpu import our_step


def test_the_timed_step_learns_by_the_loops_own_pieces() -> None:
    small = {"network.backbone": "resnet10t", "network.recurrent": {"layers": 1, "hidden": 8}, "input.image_size": 64}
    step = our_step("resnet50", device="cpu", changes=small)
    for _ in range(4):
        step(torch.randint(-1000, 1500, (2, 3, 64, 64), dtype=torch.int16))
