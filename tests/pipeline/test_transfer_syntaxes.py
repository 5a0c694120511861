"""What a study came in shows where a person looks: lossy images at the finding, unreadable ones as its reason."""

from pathlib import Path

import pydicom
import pytest

from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.domain.study import StudyState
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.vision.reader import Reader
from tests.databases import ONE_DATABASE
from tests.peers.storescp import Receiver, receiver  # noqa: F401 - a fixture
from tests.pipeline.delivering import node
from tests.pipeline.test_steps import analysed, delivery
from tests.store.house import House
from tests.vision.transcoding import transcode

#: Decoders are in question, and what they say is kept by the same rows as everywhere.
pytestmark = ONE_DATABASE


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    recipe = PhantomRecipe(seed=5, slices=12, rows=128, voxel_mm=2.0, bleeds=("subdural",))
    return write_series(render(recipe), tmp_path_factory.mktemp("head"))


def in_syntax(head: list[Path], folder: Path, transfer_syntax_uid: str) -> list[Path]:
    return [transcode(path, folder, transfer_syntax_uid) for path in head]


def text_of(report: pydicom.Dataset) -> str:
    return " ".join(str(element.value) for element in report.iterall() if element.keyword == "TextValue")


@pytest.mark.parametrize(
    ("transfer_syntax_uid", "lossy"),
    [("1.2.840.10008.1.2.4.51", True), ("1.2.840.10008.1.2.4.90", False), ("1.2.840.10008.1.2.4.91", True)],
)
def test_a_finding_of_lossy_images_says_so(
    house: House,
    head: list[Path],
    reader: Reader,
    receiver: Receiver,  # noqa: F811
    tmp_path: Path,
    transfer_syntax_uid: str,
    lossy: bool,
) -> None:
    study_uid = analysed(house, in_syntax(head, tmp_path, transfer_syntax_uid), reader)
    delivery(house, node(receiver.port))
    note = str(Note(remark=Remark.LOSSY_COMPRESSION, detail="12 of 12"))
    record = house.studies.detail(study_uid).record
    assert record is not None
    assert (note in record["notes"]) == lossy
    (sent,) = receiver.files()
    assert (note in text_of(pydicom.dcmread(sent))) == lossy


@pytest.mark.parametrize("transfer_syntax_uid", ["1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"])
def test_a_study_that_no_decoder_reads_ends_with_that_reason(
    house: House, head: list[Path], reader: Reader, tmp_path: Path, transfer_syntax_uid: str
) -> None:
    summary = house.summary(analysed(house, in_syntax(head, tmp_path, transfer_syntax_uid), reader))
    assert (summary.state, summary.reason) == (StudyState.NOT_ANALYSED, Reason.UNSUPPORTED_TRANSFER_SYNTAX)
    assert "decompressed" in Reason.UNSUPPORTED_TRANSFER_SYNTAX.meaning
