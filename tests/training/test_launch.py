"""A run is never less exact than its recipe, and never fails for want of a number format."""

import pytest

from training import launch as launching
from training.recipe import load_recipe


@pytest.mark.parametrize(("has_bf16", "used"), [(True, "bf16-mixed"), (False, "32-true")])
def test_a_processor_without_bf16_works_in_fp32(monkeypatch: pytest.MonkeyPatch, has_bf16: bool, used: str) -> None:
    # The one thing of a processor that a test can't choose.
    monkeypatch.setattr(launching, "_has_bf16", lambda: has_bf16)
    fabric = launching.launch(load_recipe("resnet50"), device="cpu")
    assert fabric._precision.precision == used
