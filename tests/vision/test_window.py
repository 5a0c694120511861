"""Windows are the paper's arithmetic."""

import numpy as np
import pytest

from ichd.vision.window import BONE, BRAIN, PAPER_WINDOWS, SUBDURAL, Window, apply_window


@pytest.mark.parametrize(("window", "low", "high"), [(BRAIN, 0, 80), (SUBDURAL, -32, 182), (BONE, -800, 2000)])
def test_bounds(window: Window, low: int, high: int) -> None:
    assert (window.low, window.high) == (low, high)


@pytest.mark.parametrize(
    ("window", "hu", "value"),
    [
        (BRAIN, -1024, 0.0),
        (BRAIN, 40, 0.5),
        (BRAIN, 80, 1.0),
        (BRAIN, 3000, 1.0),
        (SUBDURAL, -32, 0.0),
        (SUBDURAL, 75, 107 / 215),
        (SUBDURAL, 500, 214 / 215),  # an odd width never reaches 1
        (BONE, 600, 0.5),
    ],
)
def test_values(window: Window, hu: int, value: float) -> None:
    result = apply_window(np.array([[hu]], dtype=np.int16), window)
    assert result.dtype == np.float32
    assert result[0, 0] == pytest.approx(value, abs=1e-7)


def test_channel_order_is_brain_subdural_bone() -> None:
    assert [w.name for w in PAPER_WINDOWS] == ["brain", "subdural", "bone"]


def test_a_window_needs_a_width() -> None:
    with pytest.raises(ValueError, match="width"):
        Window(name="flat", level=40, width=1)
