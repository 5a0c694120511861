"""A person sees in one picture what the network is given."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ichd.domain.errors import UserError
from ichd.vision.manifest import InputSpec
from ichd.vision.window import BRAIN, SUBDURAL
from tests.training.augment.batches import batch_of, smooth
from training.augment.contact_sheet import as_network_sees, caption, write_contact_sheet
from training.augment.paper import prepare
from training.recipe import PaperAugmentation

SPEC = InputSpec(image_size=32)


def test_the_sheet_has_a_row_a_window_and_a_column_a_slice(tmp_path: Path) -> None:
    batch = batch_of(smooth(3, 5, 40, 40), lengths=[5, 5, 2])
    path = tmp_path / "new" / "sheet.png"
    write_contact_sheet(prepare(batch, PaperAugmentation(), SPEC, 1), SPEC, path)
    with Image.open(path) as sheet:
        wide, high = sheet.size
        first = np.asarray(sheet.convert("RGB"))
    assert wide >= 5 * 112
    assert high >= 3 * 112
    # Dark ground in the corner, and something bright on it.
    assert first[2, 2].max() < 40
    assert first.max() > 200
    assert [entry.name for entry in path.parent.iterdir()] == ["sheet.png"]


@pytest.mark.parametrize("spec", [SPEC, InputSpec(image_size=32, windows=(BRAIN,), mean=(0.5,), std=(0.2,))])
def test_what_is_shown_is_the_window_before_it_was_standardised(spec: InputSpec) -> None:
    batch = batch_of(torch.full((1, 1, 32, 32), 60, dtype=torch.int16))
    shown = as_network_sees(prepare(batch, None, spec, 0).x_NCGG, spec)
    red, green, blue = (round(255 * value) for value in (60 / 80, (60 + 32) / 215, (60 + 800) / 2800))
    expected = [red, green, blue] if len(spec.windows) == 3 else [red] * 3
    assert shown.shape == (1, 32, 32, 3)
    assert shown[0, 16, 16].tolist() == expected


def test_two_windows_leave_blue_dark() -> None:
    spec = InputSpec(image_size=32, windows=(BRAIN, SUBDURAL), mean=(0.5, 0.5), std=(0.2, 0.2))
    shown = as_network_sees(torch.zeros(2, 2, 32, 32), spec)
    assert shown[0, 0, 0].tolist() == [128, 128, 0]


@pytest.mark.parametrize(
    ("target", "weight", "text"),
    [
        ([0, 0, 0, 0, 0, 0], [1] * 6, "no bleed"),
        ([1, 1, 0, 0, 1, 0], [1] * 6, "IPH SDH"),
        ([1, 0, 0, 0, 0, 0], [1] * 6, "any"),
        ([0, 0, 0, 0, 0, 0], [0] * 6, "unknown"),
        ([0, 1, 0, 0, 0, 0], [0, 1, 1, 1, 1, 1], "IPH any?"),
        ([0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1], "any? IPH?"),
    ],
)
def test_labels_in_a_few_letters(target: list[int], weight: list[int], text: str) -> None:
    assert caption(torch.tensor(target), torch.tensor(weight)) == text


def test_a_sheet_that_can_not_be_written_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    batch = batch_of(smooth(1, 2, 40, 40))
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match="contact sheet"):
        write_contact_sheet(prepare(batch, None, SPEC, 0), SPEC, tmp_path / "file" / "sheet.png")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
