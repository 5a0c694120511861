"""What a header says, against pydicom on real data; and that no bytes at all do harm."""

import io
import os
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.domain.study import InstanceFacts
from ichd.intake import elements
from ichd.intake.header import parse_header, read_facts
from ichd.intake.part10 import file_meta, split_file
from ichd.intake.values import is_uid
from tests.intake.images import EXPLICIT, MARKED_BIRTH, MARKED_ID, MARKED_NAME, encode, image

IMPLICIT = str(ImplicitVRLittleEndian)
BIG_ENDIAN = str(ExplicitVRBigEndian)
DEFLATED = "1.2.840.10008.1.2.1.99"
VALID = encode(image())


def real_images() -> Iterator[Path]:
    root = os.environ.get("ICHD_TEST_DATA")
    if root:
        for folder in ("head-ct-ge", "head-phantom-philips", "transfer-syntaxes"):
            for path in sorted((Path(root) / folder).rglob("*")):
                if path.is_file() and path.name != "DIRFILE" and path.open("rb").read(132)[128:] == b"DICM":
                    yield path


@pytest.mark.skipif(not os.environ.get("ICHD_TEST_DATA"), reason="ICHD_TEST_DATA is unset: no real images")
def test_facts_of_real_images_equal_what_pydicom_reads() -> None:
    checked = 0
    for path in real_images():
        facts, ds = read_facts(path), pydicom.dcmread(path, stop_before_pixels=True)
        assert facts.sop_instance_uid == ds.SOPInstanceUID
        assert facts.sop_class_uid == ds.SOPClassUID
        assert facts.study_instance_uid == ds.StudyInstanceUID
        assert facts.series_instance_uid == ds.SeriesInstanceUID
        assert facts.transfer_syntax_uid == ds.file_meta.TransferSyntaxUID
        assert facts.modality == ds.Modality
        assert facts.image_type == tuple(v.strip() for v in ds.ImageType)
        assert (facts.rows, facts.columns) == (ds.Rows, ds.Columns)
        assert facts.number_of_frames == int(ds.get("NumberOfFrames", 1))
        for value, keyword in (
            (facts.image_position, "ImagePositionPatient"),
            (facts.image_orientation, "ImageOrientationPatient"),
            (facts.pixel_spacing, "PixelSpacing"),
        ):
            assert value == (tuple(float(v) for v in ds[keyword].value) if ds.get(keyword) else None)
        assert facts.series_description == str(ds.get("SeriesDescription", "")).strip()
        assert facts.instance_number == ds.get("InstanceNumber")
        checked += 1
    assert checked > 70


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_stored_of_malformed_files_pydicom_reads_alike(data_folder: Path) -> None:
    """Later rooms read with pydicom: a file on which the two disagree would be one image here and another there."""
    accepted = 0
    for path in sorted((data_folder / "malformed").rglob("*.dcm")):
        try:
            syntax, dataset = split_file(path.read_bytes())
            facts = parse_header(dataset, syntax)
        except Refused:
            continue
        meta = file_meta(sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax_uid=syntax)
        ds = pydicom.dcmread(io.BytesIO(meta + bytes(dataset)))
        assert (facts.sop_instance_uid, facts.study_instance_uid) == (ds.SOPInstanceUID, ds.StudyInstanceUID), path.name
        assert (facts.rows, facts.columns, facts.modality) == (ds.Rows, ds.Columns, ds.Modality), path.name
        assert "PixelData" in ds, path.name
        accepted += 1
    assert 60 < accepted < 110


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED])
def test_every_native_encoding_gives_the_same_facts(syntax: str) -> None:
    encoded = raw_deflate(VALID) if syntax == DEFLATED else encode(image(), syntax)
    assert parse_header(encoded, syntax) == InstanceFacts(
        study_instance_uid="1.2.826.0.1.3680043.10.1459.2",
        series_instance_uid="1.2.826.0.1.3680043.10.1459.3",
        sop_instance_uid="1.2.826.0.1.3680043.10.1459.1.1",
        sop_class_uid="1.2.840.10008.5.1.4.1.1.2",
        transfer_syntax_uid=syntax,
        modality="CT",
        image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
        rows=8,
        columns=8,
        image_position=(-120.5, -130.0, 5.0),
        image_orientation=(1, 0, 0, 0, 1, 0),
        pixel_spacing=(0.5, 0.25),
        frame_of_reference_uid="1.2.826.0.1.3680043.10.1459.4",
        series_number=2,
        series_description="Schädel axial",
        instance_number=1,
        accession_number="A4711",
        study_datetime="20240131101112.5",
    )


def test_nothing_of_the_patient_is_in_the_facts() -> None:
    facts = repr(parse_header(VALID, EXPLICIT))
    assert not any(mark in facts for mark in (*MARKED_NAME.split("^"), MARKED_ID, MARKED_BIRTH))


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_missing_geometry_is_a_fact_and_no_refusal(keyword: str) -> None:
    without: dict[str, Any] = {keyword: None}
    facts = parse_header(encode(image(**without)), EXPLICIT)
    assert None in (facts.image_position, facts.image_orientation, facts.pixel_spacing)


@pytest.mark.parametrize(
    ("attributes", "reason", "detail"),
    [
        ({"PixelData": None}, Reason.TRUNCATED, "no pixel data"),
        ({"Rows": None, "PixelData": None}, Reason.TRUNCATED, "no pixel data"),
        ({"Rows": 9}, Reason.TRUNCATED, "128 of 144 pixel bytes"),
        ({"NumberOfFrames": 2}, Reason.TRUNCATED, "128 of 256 pixel bytes"),
        ({"SOPInstanceUID": None}, Reason.BAD_UID, "SOPInstanceUID is missing"),
        ({"StudyInstanceUID": None}, Reason.BAD_UID, "StudyInstanceUID is missing"),
    ],
)
def test_broken_images_are_refused(attributes: dict[str, Any], reason: Reason, detail: str) -> None:
    with pytest.raises(Refused) as refusal:
        parse_header(encode(image(**attributes)), EXPLICIT)
    assert (refusal.value.reason, refusal.value.detail) == (reason, detail)


@pytest.mark.parametrize("uid", ["../../../../etc/passwd/evil.dcm", "1.2.x" + "." * 26, "1.2.3 .4" + "." * 23])
def test_hostile_uids_are_refused(uid: str) -> None:
    genuine = b"1.2.826.0.1.3680043.10.1459.1.1"
    assert len(uid) == len(genuine)
    with pytest.raises(Refused) as refusal:
        parse_header(VALID.replace(genuine, uid.encode()), EXPLICIT)
    assert refusal.value.reason is Reason.BAD_UID
    assert uid not in str(refusal.value)


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT, BIG_ENDIAN])
def test_no_beginning_of_an_image_passes_for_an_image(syntax: str) -> None:
    encoded = encode(image(), syntax)
    parse_header(encoded, syntax)
    for size in range(len(encoded)):
        with pytest.raises(Refused):
            parse_header(encoded[:size], syntax)


def test_sequences_of_undefined_length_are_followed_at_any_depth() -> None:
    ds = nested(depth=20)
    assert parse_header(encode(ds), EXPLICIT).rows == 8
    assert parse_header(encode(ds, IMPLICIT), IMPLICIT).rows == 8
    with pytest.raises(Refused, match="nest deeper"):
        parse_header(encode(nested(depth=40)), EXPLICIT)


def test_unknown_sequences_of_undefined_length_hold_implicit_elements() -> None:
    # (0009,1001) UN of undefined length: one item with an implicit VR element (PS3.5 6.2.2).
    element = (
        b"\x09\x00\x01\x10UN\x00\x00\xff\xff\xff\xff"
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff\x09\x00\x02\x10\x02\x00\x00\x00AB\xfe\xff\x0d\xe0\x00\x00\x00\x00"
        b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"
    )
    at = VALID.index(b"\x10\x00\x10\x00PN")
    assert parse_header(VALID[:at] + element + VALID[at:], EXPLICIT) == parse_header(VALID, EXPLICIT)


def test_a_deflate_bomb_is_refused_without_being_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elements, "MAX_INFLATED_BYTES", 1 << 24)
    bomb = raw_deflate(encode(image(PixelData=bytes(1 << 26))))
    assert len(bomb) < 1 << 18
    with pytest.raises(Refused) as refusal:
        parse_header(bomb, DEFLATED)
    assert refusal.value.reason is Reason.TOO_LARGE


def test_a_deflated_image_inflates_to_as_much_as_is_said() -> None:
    deflated = raw_deflate(VALID)
    assert parse_header(deflated, DEFLATED, max_inflated_bytes=len(VALID)).rows == 8
    with pytest.raises(Refused) as refusal:
        parse_header(deflated, DEFLATED, max_inflated_bytes=len(VALID) - 1)
    assert refusal.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize("cut", [1, 10, 300])
def test_a_deflated_image_that_breaks_off_is_refused(cut: int) -> None:
    with pytest.raises(Refused) as refusal:
        parse_header(raw_deflate(VALID)[:-cut], DEFLATED)
    assert refusal.value.reason is Reason.TRUNCATED


def test_endless_elements_end() -> None:
    started = time.monotonic()
    with pytest.raises(Refused):
        parse_header(b"\x08\x00\x05\x00CS\x00\x00" * 2_000_000, EXPLICIT)
    assert time.monotonic() - started < 5


def test_an_unknown_transfer_syntax_is_refused() -> None:
    with pytest.raises(Refused) as refusal:
        parse_header(VALID, "1.2.840.10008.1.2.4.100")
    assert refusal.value.reason is Reason.UNSUPPORTED_TRANSFER_SYNTAX


MUTATION = st.tuples(st.integers(0, len(VALID) - 1), st.binary(min_size=0, max_size=8))


@settings(max_examples=800, deadline=5000)
@given(st.lists(MUTATION, min_size=1, max_size=6), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED]))
@example([(0, b"")], IMPLICIT)
def test_mutated_bytes_are_facts_or_a_refusal(mutations: list[tuple[int, bytes]], syntax: str) -> None:
    content = bytearray(VALID if syntax in (EXPLICIT, DEFLATED) else encode(image(), syntax))
    for offset, patch in mutations:
        # An empty patch deletes a byte, so that everything after it shifts.
        content[offset : offset + max(1, len(patch))] = patch
    encoded = raw_deflate(bytes(content)) if syntax == DEFLATED else bytes(content)
    try:
        facts = parse_header(encoded, syntax)
    except Refused:
        return
    assert "\0" not in repr(facts).replace("\\x00", "\0")
    assert facts.transfer_syntax_uid == syntax


@settings(max_examples=300, deadline=5000)
@given(st.binary(max_size=400), st.sampled_from([EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED, "1.2.840.10008.1.2.4.70"]))
def test_random_bytes_are_refused(content: bytes, syntax: str) -> None:
    with pytest.raises(Refused):
        parse_header(content, syntax)


@settings(max_examples=400, deadline=5000)
@given(st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=0, max_size=8)), max_size=4), st.integers(0, 2000))
def test_a_mutated_or_cut_file_is_split_or_refused(mutations: list[tuple[int, bytes]], size: int) -> None:
    meta = file_meta(sop_class_uid="1.2", sop_instance_uid="1.2.3", transfer_syntax_uid=EXPLICIT)
    assert bytes(split_file(meta + VALID)[1]) == VALID
    content = bytearray(meta + VALID)[:size]
    for offset, patch in mutations:
        content[offset : offset + max(1, len(patch))] = patch
    try:
        syntax, dataset = split_file(bytes(content))
    except Refused:
        return
    assert is_uid(syntax)
    assert bytes(content).endswith(bytes(dataset))


def nested(*, depth: int) -> Dataset:
    ds = image()
    inner = ds
    for _ in range(depth):
        item = Dataset()
        item.is_undefined_length_sequence_item = True
        inner.ReferencedStudySequence = Sequence([item])
        inner["ReferencedStudySequence"].is_undefined_length = True
        inner = item
    inner.ReferencedSOPInstanceUID = "1.2.3"
    return ds


def raw_deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


@pytest.mark.parametrize(("said", "expected"), [("28", 28), (" 28 ", 28), ("0", None), ("-1", None), (None, None)])
def test_how_many_images_the_study_and_the_series_have(said: str | None, expected: int | None) -> None:
    numbers = (
        {} if said is None else dict.fromkeys(("NumberOfStudyRelatedInstances", "NumberOfSeriesRelatedInstances"), said)
    )
    facts = parse_header(encode(image(1, **numbers)), EXPLICIT)
    assert (facts.study_related_instances, facts.series_related_instances) == (expected, expected)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, ""),
        ({"AcquisitionDateTime": "20240131101530.25+0100", "AcquisitionTime": "09"}, "20240131101530.25"),
        ({"AcquisitionDate": "20240201", "AcquisitionTime": "000112.5"}, "20240201000112.5"),
        ({"AcquisitionTime": "101530"}, "20240131101530"),
        ({"AcquisitionDate": "20240201"}, ""),
    ],
)
def test_when_an_image_was_acquired(said: dict[str, Any], expected: str) -> None:
    assert parse_header(encode(image(**said)), EXPLICIT).acquisition_datetime == expected


def test_what_selection_asks_of_a_header() -> None:
    said: dict[str, Any] = {
        "PatientPosition": "FFP",
        "VolumeBasedCalculationTechnique": "MAX_IP",
        "QualityControlImage": "YES",
        "ConvolutionKernel": ["Hr60f", "3"],
    }
    facts = parse_header(encode(image(**said)), EXPLICIT)
    assert (facts.patient_position, facts.volume_calculation) == ("FFP", "MAX_IP")
    assert facts.quality_control_image
    assert facts.convolution_kernel == "Hr60f\\3"
    assert not parse_header(encode(image(QualityControlImage="NO")), EXPLICIT).quality_control_image
