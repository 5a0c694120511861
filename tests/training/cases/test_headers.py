"""One header to the index's columns: what is read, and in which words it is not."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ichd.domain.study import InstanceFacts
from ichd.intake.header import read_facts
from ichd.vision.parsed import parse
from training.cases.facts import facts_from_text, facts_of, facts_to_text
from training.cases.headers import HEADER_SCHEMA, read_header_table, read_row

from .files import rewrite, write_study


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("headers")
    write_study(folder, seed=1, slices=2)
    return folder / "001.dcm"


def test_a_readable_image_has_all_columns(image: Path) -> None:
    row = read_row(image, with_facts=True)
    assert row["left_out"] is None
    assert row["encoding"] == "16-bit signed -1024"
    assert row["thickness_mm"] == 5.0
    assert row["manufacturer"] == "ichd phantom"
    assert row["patient_id"] == "PHANTOM-1"
    assert (row["rows"], row["columns"]) == (64, 64)
    assert set(row) == set(HEADER_SCHEMA)
    assert [name for name, value in row.items() if value is None] == ["left_out"]


def test_what_the_data_set_lacks_is_null_and_no_fault(layout: Path) -> None:
    table = read_header_table(sorted((layout / "stage_2_train").iterdir()))
    assert table["left_out"].drop_nulls().to_list() == ["pixel data too short: 2400 of 8192 bytes"]
    assert table["thickness_mm"].null_count() == table["manufacturer"].null_count() == len(table)
    assert table["image_id"].str.starts_with("ID_").all()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"without": ("ImagePositionPatient",)}, "missing geometry"),
        ({"without": ("PixelSpacing",)}, "missing geometry"),
        (
            {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
            "missing geometry: rows and columns are not at a right angle",
        ),
        ({"without": ("RescaleSlope",)}, "no Hounsfield units"),
        ({"RescaleType": "OD"}, "no Hounsfield units: Rescale Type OD"),
        ({"Modality": "MR"}, "not CT: Modality MR"),
        ({"without": ("Modality",)}, "not CT: Modality is missing"),
        ({"BitsStored": 20}, "pixels can't be read: BitsStored 20 of BitsAllocated 16"),
        ({"without": ("StudyInstanceUID",)}, "no identifiers: StudyInstanceUID"),
        ({"without": ("PixelData",)}, "no pixel data"),
        ({"PixelData": bytes(100)}, "pixel data too short: 100 of 8192 bytes"),
        (
            {"NumberOfFrames": 3},
            "several frames in one file; export them one by one: 3 frames and functional groups for 0",
        ),
    ],
)
def test_what_can_not_be_used_says_why(image: Path, tmp_path: Path, values: dict[str, object], reason: str) -> None:
    assert read_row(rewrite(image, tmp_path / "odd.dcm", **values))["left_out"] == reason  # type: ignore[arg-type]


def test_a_file_that_ends_too_soon_is_too_short(image: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.dcm"
    cut.write_bytes(image.read_bytes()[:-1000])
    assert read_row(cut)["left_out"] == "pixel data too short: 7192 of 8192 bytes"


@pytest.mark.parametrize("content", [b"", b"a letter", b"\0" * 128 + b"DICM"])
def test_what_is_no_dicom_file_is_a_row_too(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "letter.txt").write_bytes(content)
    row = read_row(tmp_path / "letter.txt")
    assert row["path"].endswith("letter.txt")
    assert row["left_out"] is not None


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_no_damage_to_a_header_stops_the_index(
    image: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(image.read_bytes())
    head = len(content) - 8192
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(128, head - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.dcm"
    path.write_bytes(content)
    assert len(read_header_table([path], with_facts=True)) == 1


def test_several_processes_read_what_one_reads(layout: Path) -> None:
    paths = sorted((layout / "stage_2_train").iterdir())
    seen: list[tuple[int, int]] = []
    two = read_header_table(paths, processes=2, on_progress=lambda done, total: seen.append((done, total)))
    assert two.equals(read_header_table(paths, processes=1))
    assert two["path"].to_list() == [str(path) for path in paths]
    assert seen[0] == (0, len(paths))
    assert seen[-1] == (len(paths), len(paths))


def test_facts_are_those_that_the_daemon_goes_by(image: Path) -> None:
    """The listener has a parser of its own; what decides on series must read the same."""
    ours, daemons = facts_of(parse(image)), read_facts(image)
    for name in ("accession_number", "study_datetime", "study_related_instances", "series_related_instances"):
        object.__setattr__(daemons, name, getattr(ours, name))
    assert ours == daemons


def test_facts_keep_as_text(image: Path) -> None:
    facts = facts_of(parse(image))
    assert facts_from_text(facts_to_text(facts)) == facts
    bare = InstanceFacts(
        study_instance_uid="1", series_instance_uid="2", sop_instance_uid="3", sop_class_uid="", transfer_syntax_uid=""
    )
    assert facts_from_text(facts_to_text(bare)) == bare
