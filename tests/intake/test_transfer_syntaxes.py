"""Every transfer syntax of the doors: a phantom slice goes through the listener, and its HU come out of the spool."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID

from ichd.domain.errors import NotAnalysable
from ichd.domain.reason import Reason
from ichd.intake.header import read_facts
from ichd.intake.part10 import split_file
from ichd.intake.syntax import TRANSFER_SYNTAXES
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.store.tables import InstanceRow
from ichd.vision.pixels import read_pixels
from ichd.vision.slices import read_header
from tests.intake.conftest import House
from tests.intake.senders import SUCCESS
from tests.vision.transcoding import transcode

NONE_READS = Reason.UNSUPPORTED_TRANSFER_SYNTAX
#: The largest difference in HU to the image before it was encoded; or why it is not read.
EXPECTED: dict[str, float | Reason] = {
    "1.2.840.10008.1.2.1": 0,
    "1.2.840.10008.1.2": 0,
    "1.2.840.10008.1.2.2": 0,
    "1.2.840.10008.1.2.1.99": 0,
    "1.2.840.10008.1.2.5": 0,
    "1.2.840.10008.1.2.4.70": 0,
    "1.2.840.10008.1.2.4.57": 0,
    "1.2.840.10008.1.2.4.80": 0,
    "1.2.840.10008.1.2.4.90": 0,
    "1.2.840.10008.1.2.4.201": 0,
    "1.2.840.10008.1.2.4.202": 0,
    "1.2.840.10008.1.2.4.81": 2,
    "1.2.840.10008.1.2.4.91": 40,
    "1.2.840.10008.1.2.4.203": 4,
    "1.2.840.10008.1.2.4.50": 20,  # a grey level of 8 bits is 8 HU
    "1.2.840.10008.1.2.4.51": 20,
    "1.2.840.10008.1.2.4.53": NONE_READS,
    "1.2.840.10008.1.2.4.55": NONE_READS,
}
LOSSY = {uid for uid, expected in EXPECTED.items() if expected}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = PhantomRecipe(seed=5, slices=3, rows=128, voxel_mm=2.0, bleeds=("subdural",))
    return write_series(render(recipe), tmp_path_factory.mktemp("phantom"))[1]


def test_no_transfer_syntax_is_left_out() -> None:
    assert set(EXPECTED) == set(TRANSFER_SYNTAXES)


def through_the_door(house: House, path: Path) -> Path:
    """The file in the spool of an image that was sent by C-STORE in the transfer syntax that it has."""
    facts = read_facts(path)
    syntax, dataset = split_file(path.read_bytes())
    with house.sender(transfer_syntax_uid=syntax) as sender:
        assert sender.store(bytes(dataset), facts.sop_instance_uid).status == SUCCESS
    (row,) = house.rows(InstanceRow)
    stored = house.spool.locate(row.path)
    assert bytes(split_file(stored.read_bytes())[1]) == bytes(dataset)
    return stored


@pytest.mark.parametrize("transfer_syntax_uid", EXPECTED, ids=lambda uid: UID(uid).name)
def test_a_slice_is_received_and_decoded(
    house: House, original: Path, tmp_path: Path, transfer_syntax_uid: str
) -> None:
    stored = through_the_door(house, transcode(original, tmp_path, transfer_syntax_uid))
    header = read_header(stored)
    assert header.lossy == (transfer_syntax_uid in LOSSY)
    expected = EXPECTED[transfer_syntax_uid]
    if isinstance(expected, Reason):
        with pytest.raises(NotAnalysable) as caught:
            read_pixels(header)
        assert caught.value.reason is expected
        return
    before = read_pixels(read_header(original)).hu_HW.astype(float)
    assert before.min() < -900, "there is air in it"
    assert before.max() > 900, "and bone"
    difference = np.abs(read_pixels(header).hu_HW.astype(float) - before).max()
    assert difference <= expected
    assert (difference > 0) == (transfer_syntax_uid in LOSSY), "a lossy encoder that lost nothing tests nothing"
