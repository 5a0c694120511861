"""Delivery by C-STORE to peers that others wrote: dcmtk and Orthanc."""

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import (
    ExplicitVRLittleEndian,
)

from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from tests.peers.dcmtk import restricted_to, running_storescp
from tests.peers.orthanc import Orthanc
from tests.publish.dimse_sending import SOP, outcome, sender
from tests.publish.parcels import KO, SC, SR, Outbox, payload
from tests.report.findings import CREATED_AT


def test_dcmtk_takes_all_of_it(tmp_path: Path, outbox: Outbox) -> None:
    with running_storescp(tmp_path / "in") as port:
        receipt = sender(port).deliver(outbox.parcel(), now=CREATED_AT)
    assert receipt.sop_class_uid == SOP[SR]
    files = list((tmp_path / "in").iterdir())
    assert sorted(payload(file) for file in files) == sorted(payload(each.path) for each in outbox.made.values())


@pytest.mark.parametrize(
    ("takes", "rung", "left_out"),
    [
        ([ObjectKind.SR_COMPREHENSIVE], ObjectKind.SR_COMPREHENSIVE, (KO, SC)),
        ([SC], SC, (KO,)),
    ],
)
def test_dcmtk_restricted(
    tmp_path: Path, outbox: Outbox, takes: list[ObjectKind], rung: ObjectKind, left_out: tuple[ObjectKind, ...]
) -> None:
    options = restricted_to([SOP[kind] for kind in takes], tmp_path)
    with running_storescp(tmp_path / "in", *options) as port:
        receipt = sender(port).deliver(outbox.parcel(), now=CREATED_AT)
    (file,) = (tmp_path / "in").iterdir()
    assert payload(file) == payload(outbox.object(rung).path)
    assert receipt.sop_class_uid == SOP[rung]
    assert receipt.left_out == left_out


@pytest.mark.parametrize("option", ["--implicit", "+xe"])
def test_dcmtk_prefers_an_encoding(tmp_path: Path, outbox: Outbox, option: str) -> None:
    with running_storescp(tmp_path / "in", option) as port:
        sender(port).deliver(outbox.parcel(SC), now=CREATED_AT)
    (file,) = (tmp_path / "in").iterdir()
    assert dcmread(file).PatientName == dcmread(outbox.object(SC).path).PatientName


def test_dcmtk_refuses_the_association(tmp_path: Path, outbox: Outbox) -> None:
    with running_storescp(tmp_path / "in", "--refuse") as port:
        raised = outcome(sender(port), outbox.parcel())
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_REJECTED


def test_dcmtk_aborts_during_the_store(tmp_path: Path, outbox: Outbox) -> None:
    with running_storescp(tmp_path / "in", "--abort-during") as port:
        raised = outcome(sender(port), outbox.parcel())
    assert isinstance(raised, Transient)
    assert raised.reason is Reason.ASSOCIATION_LOST


def test_orthanc_files_it_with_the_study_once(orthanc: Orthanc, outbox: Outbox) -> None:
    way = sender(orthanc.dicom_port, ae_title=orthanc.ae_title)
    assert way.check() == "answers C-ECHO"
    for _ in range(2):
        receipt = way.deliver(outbox.parcel(), now=CREATED_AT)
    for uid in receipt.sop_instance_uids:
        (stored,) = orthanc.instances(SOPInstanceUID=uid)
        assert str(stored.PatientName) == "Müller^Jörg"
        assert stored.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
