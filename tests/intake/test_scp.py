"""The DIMSE door from outside: what senders see, and what is behind the door afterwards."""

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import Watermarks
from ichd.intake.header import read_facts
from ichd.intake.part10 import split_file
from ichd.store.spool import Draft, Spool
from ichd.store.tables import AssociationRow, ConflictRow, InstanceRow
from tests.intake.conftest import House, OpenHouse, now
from tests.intake.images import MARKED_BIRTH, MARKED_ID, MARKED_NAME, ROOT, encode, image
from tests.intake.senders import SUCCESS, Answer, Sender, as_data_set, claimed_uid
from tests.peers.ports import free_port

MR_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.4"


def uid(number: int) -> str:
    return f"{ROOT}.1.{number}"


def until(condition: Callable[[], bool], *, seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def dcmtk(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        env={**os.environ, "TCP_NODELAY": "1"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_dcmtk_verifies_and_stores_a_real_study(house: House, data_folder: Path) -> None:
    assert dcmtk("echoscu", "-aec", "ICHD", "127.0.0.1", str(house.port)).returncode == 0
    assert house.count(AssociationRow) == 0  # an echo leaves no row
    files = sorted((data_folder / "head-ct-ge").glob("*.dcm"))
    sent = dcmtk("storescu", "-aet", "GE_CT", "127.0.0.1", str(house.port), *map(str, files))
    assert sent.returncode == 0, sent.stderr
    assert house.count() == len(files) == 28
    assert len(house.files()) == 28
    until(lambda: house.association().ended_at is not None)
    association = house.association()
    assert (association.released, association.calling_ae_title) == (True, "GE_CT")
    original = pydicom.dcmread(files[0])
    stored = pydicom.dcmread(house.spool.locate(house.rows(InstanceRow)[0].path))
    assert stored.PixelData == original.PixelData
    assert stored.file_meta.MediaStorageSOPInstanceUID == original.SOPInstanceUID


def test_every_transfer_syntax_is_stored_to_the_bit(house: House, data_folder: Path) -> None:
    checked = set()
    for path in sorted((data_folder / "transfer-syntaxes").glob("*.dcm")):
        facts = read_facts(path)
        syntax, dataset = split_file(path.read_bytes())
        content = bytes(dataset)
        with house.sender(transfer_syntax_uid=syntax, sop_classes=(facts.sop_class_uid,)) as sender:
            answer = sender.store(content, facts.sop_instance_uid, sop_class_uid=facts.sop_class_uid)
        assert answer.status == SUCCESS
        assert any(bytes(split_file(f.read_bytes())[1]) == content for f in house.files())
        checked.add(syntax)
    assert len(checked) == 15
    # The same slice in sixteen syntaxes: other bytes under one UID, or a UID of their own, but nothing lost.
    assert house.count() + house.count(ConflictRow) == len(house.files())


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_malformed_images_are_stored_or_refused_with_a_reason(house: House, data_folder: Path) -> None:
    paths = sorted((data_folder / "malformed").rglob("*.dcm"))
    assert len(paths) == 123
    answers: dict[str, Answer] = {}
    with ExitStack() as stack:
        senders: dict[str, Sender] = {}
        for path in paths:
            syntax, dataset = as_data_set(path.read_bytes())
            if syntax not in senders:
                senders[syntax] = stack.enter_context(house.sender(transfer_syntax_uid=syntax))
            answers[path.name] = senders[syntax].store(dataset, claimed_uid(path))
            assert senders[syntax].association.is_established, path.name
    assert all(a.status is not None for a in answers.values())
    refused = {name: a for name, a in answers.items() if a.status != SUCCESS}
    codes = {str(reason) for reason in Reason}
    assert all(a.comment.split(":")[0] in codes for a in refused.values())
    assert 30 < len(refused) < 80
    assert answers["BASELINE_valid_ct.dcm"].status == SUCCESS
    assert answers["TC0285_buf_half.dcm"] == Answer(status=0xC001, comment="truncated: 4096 of 8192 pixel bytes")
    assert answers["TC0437_sop_modality_ct_sop_mr_mod.dcm"] == Answer(
        status=0xA900, comment="wrong_modality: Modality MR"
    )
    assert house.count() + house.count(ConflictRow) == len(house.files())


@pytest.mark.parametrize(
    ("attributes", "status", "comment"),
    [
        ({"SOPInstanceUID": f"{ROOT}.77"}, 0xA900, "uid_mismatch: SOP Instance UID"),
        ({"SOPClassUID": MR_IMAGE_STORAGE}, 0xA900, "uid_mismatch: SOP Class UID"),
        ({"Modality": "MR"}, 0xA900, "wrong_modality: Modality MR"),
        ({"Modality": None}, 0xA900, "wrong_modality: Modality none"),
        ({"Modality": "MUSTER ERIKA"}, 0xA900, "wrong_modality: Modality another"),
        ({"Rows": 100}, 0xC001, "truncated: 128 of 1600 pixel bytes"),
        ({"StudyInstanceUID": None}, 0xC002, "bad_uid: StudyInstanceUID is missing"),
        ({"PixelData": bytes(3 << 20)}, 0xC004, "too_large: 3146502 bytes, at most 1048576"),
    ],
)
def test_an_image_is_refused_with_status_comment_log_and_row(
    open_house: OpenHouse, attributes: dict[str, Any], status: int, comment: str
) -> None:
    house = open_house(max_instance_bytes=1 << 20)
    with capture_logs() as logs, house.sender() as sender:
        answer = sender.store(encode(image(1, **attributes)), uid(1))
        assert sender.store(encode(image(2)), uid(2)).status == SUCCESS  # the association goes on
    assert answer.status == status
    assert answer.comment == comment
    reason = comment.partition(":")[0]
    (record,) = [entry for entry in logs if entry["event"] == "instance_refused"]
    assert (record["reason"], record["calling_ae_title"], record["address"]) == (reason, "SCANNER", "127.0.0.1")
    (row,) = house.arrivals.refusals()
    assert (row.reason, row.calling_ae_title, row.sop_instance_uid) == (Reason(reason), "SCANNER", uid(1))
    assert len(house.files()) == house.count() == 1


def test_an_association_remembers_what_it_refused(house: House) -> None:
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        assert sender.store(encode(image(2))[:-20], uid(2)).status != SUCCESS
        assert sender.store(encode(image(3)), uid(3)).status == SUCCESS
    until(lambda: house.association().ended_at is not None)
    assert (house.association().released, house.association().refused) == (True, 1)


def test_a_cut_data_set_is_refused_wherever_it_is_cut(house: House) -> None:
    content = encode(image(1))
    with house.sender() as sender:
        for size in (5, 300, len(content) - 130, len(content) - 1):
            assert sender.store(content[:size], uid(1)).status in {0xC000, 0xC001, 0xC002}
    assert house.files() == []


def test_the_same_image_again_changes_nothing(house: House) -> None:
    with house.sender(calling_ae_title="FIRST") as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
    first = house.rows(InstanceRow)[0]
    with house.sender(calling_ae_title="SECOND") as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
    (again,) = house.rows(InstanceRow)
    assert (again.path, again.sha256, again.received_at) == (first.path, first.sha256, first.received_at)
    assert len(house.files()) == 1


def test_other_bytes_under_the_same_uid_are_kept_beside_the_first(house: House) -> None:
    other = encode(image(1, PixelData=bytes(128)))
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        assert sender.store(other, uid(1)).status == SUCCESS
    assert bytes(split_file(house.stored(uid(1)))[1]) == encode(image(1))
    (conflict,) = house.rows(ConflictRow)
    assert bytes(split_file(house.spool.locate(conflict.path).read_bytes())[1]) == other


def test_a_low_disk_refuses_until_there_is_room(open_house: OpenHouse, tmp_path: Path) -> None:
    class Filling(Spool):
        free = 0.01

        def free_fraction(self) -> float:
            return self.free

    spool = Filling(tmp_path / "spool")
    house = open_house(spool=spool, watermarks=Watermarks(high=0.95, low=0.95))
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)) == Answer(status=0xA700, comment="disk_low")
        spool.free = 0.5
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS


def test_a_broken_database_is_no_success_and_recovers(house: House) -> None:
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        with house.engine.begin() as connection:
            connection.execute(text("ALTER TABLE instance RENAME TO gone"))
        with capture_logs() as logs:
            assert sender.store(encode(image(2)), uid(2)) == Answer(status=0xA700, comment="store_unavailable")
        with house.engine.begin() as connection:
            connection.execute(text("ALTER TABLE gone RENAME TO instance"))
        assert sender.store(encode(image(2)), uid(2)).status == SUCCESS
    assert any(entry["event"] == "instance_refused" for entry in logs)
    assert house.count() == 2
    # What the failed transaction left has no row, and goes with the next sweep.
    assert len(house.files()) == 3
    house.spool.sweep(known=house.arrivals.known_paths, older_than=timedelta(0), now=now() + timedelta(seconds=1))
    assert len(house.files()) == 2


def test_an_unwritable_spool_is_no_success(open_house: OpenHouse, tmp_path: Path) -> None:
    house = open_house()
    shutil.rmtree(tmp_path / "spool")  # as if its disk had been unmounted
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == 0xA700
    assert house.count() == 0
    assert not (tmp_path / "spool").exists(), "nothing may fill the disk below"


def test_a_listener_whose_spool_can_not_be_made_does_not_start(open_house: OpenHouse, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(Transient):
        open_house()


def test_a_listener_that_does_not_start_lets_go_of_its_port(open_house: OpenHouse, tmp_path: Path) -> None:
    class Broken(Spool):
        def prepare(self) -> None:
            raise ValueError("a defect of ours")

    port = free_port()
    with pytest.raises(ValueError, match="a defect of ours") as failed:
        open_house(spool=Broken(tmp_path / "spool"), port=port)
    assert open_house(port=port).port == port, failed


def test_an_abort_in_the_middle_leaves_no_file_and_no_release(house: House) -> None:
    with house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        sender.association.abort()
    until(lambda: house.association().ended_at is not None)
    assert house.association().released is False
    assert len(house.files()) == 1


def test_a_new_listener_ends_what_a_dead_one_left_open(open_house: OpenHouse) -> None:
    house = open_house(port=free_port())
    for place in (house.listener.place, "elsewhere/0.0.0.0:11112"):
        house.arrivals.open_association(calling_ae_title="DEAD", address="127.0.0.1", listener=place, now=now())
    house.listener.stop()
    house.listener.start()
    here, elsewhere = house.rows(AssociationRow)
    assert (here.released, here.ended_at is not None) == (False, True)
    assert elsewhere.ended_at is None, "the listener there may be alive"


def test_stopping_finishes_the_image_at_hand_and_is_quick(open_house: OpenHouse, tmp_path: Path) -> None:
    class Slow(Spool):
        def draft(self, suffix: str = ".dcm") -> Draft:
            time.sleep(0.5)
            return super().draft()

    house = open_house(spool=Slow(tmp_path / "spool"))
    answers: list[Answer] = []
    with house.sender() as busy, house.sender() as idle:
        sending = threading.Thread(target=lambda: answers.append(busy.store(encode(image(1)), uid(1))))
        sending.start()
        time.sleep(0.2)
        started = time.monotonic()
        house.listener.stop()
        assert time.monotonic() - started < 3
        sending.join()
        until(lambda: not idle.association.is_established)
    assert [answer.status for answer in answers] == [SUCCESS]
    assert house.count() == 1
    until(lambda: house.association().ended_at is not None)
    assert house.association().released is False


def test_no_patient_value_reaches_log_or_database(house: House) -> None:
    with capture_logs() as logs, house.sender() as sender:
        assert sender.store(encode(image(1)), uid(1)).status == SUCCESS
        for broken in (image(2, Rows=99), image(3, Modality="MR"), image(4, SeriesInstanceUID=None)):
            assert sender.store(encode(broken), broken.SOPInstanceUID).status != SUCCESS
        assert sender.store(encode(image(5))[:-200], uid(5)).status != SUCCESS
    house.listener.stop()
    house.engine.dispose()
    database = b"".join(path.read_bytes() for path in house.root.glob("ichd.db*"))
    assert uid(1).encode() in database
    written = database + repr(logs).encode()
    for mark in (*MARKED_NAME.split("^"), MARKED_ID, MARKED_BIRTH):
        assert mark.encode() not in written
