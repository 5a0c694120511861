"""Acknowledged means stored: killed at the worst moments, the listener has lost nothing that it said yes to."""

from datetime import timedelta
from pathlib import Path

import pytest

from ichd.intake.part10 import split_file
from ichd.store.tables import AssociationRow, ConflictRow
from tests.intake.conftest import OpenHouse, now
from tests.intake.images import encode, image
from tests.intake.listening import listening
from tests.intake.senders import SUCCESS, Sender
from tests.intake.test_scp import uid

IMAGES = {uid(number): encode(image(number)) for number in range(1, 6)}


@pytest.mark.parametrize(
    ("death", "rows_left", "files_left"), [("--die-after-write", 2, 3), ("--die-after-commit", 3, 3)]
)
def test_killed_before_the_answer(
    open_house: OpenHouse, tmp_path: Path, death: str, rows_left: int, files_left: int
) -> None:
    acknowledged = []
    with listening(tmp_path, death, "3") as (process, port):
        with Sender(port, timeout_s=1) as sender:
            for sop_instance_uid, content in IMAGES.items():
                if not sender.association.is_established:
                    break
                if sender.store(content, sop_instance_uid).status == SUCCESS:
                    acknowledged.append(sop_instance_uid)
        assert process.wait(10) == -9
    assert acknowledged == [uid(1), uid(2)]

    house = open_house()
    assert (house.count(), len(house.files())) == (rows_left, files_left)
    assert not house.rows(AssociationRow)[0].released
    for sop_instance_uid in acknowledged:
        assert bytes(split_file(house.stored(sop_instance_uid))[1]) == IMAGES[sop_instance_uid]
    with house.sender() as sender:
        for sop_instance_uid, content in IMAGES.items():
            assert sender.store(content, sop_instance_uid).status == SUCCESS
    house.spool.sweep(known=house.arrivals.known_paths, older_than=timedelta(0), now=now() + timedelta(seconds=1))
    assert house.count() == len(house.files()) == 5
    assert house.count(ConflictRow) == 0
    for sop_instance_uid, content in IMAGES.items():
        assert bytes(split_file(house.stored(sop_instance_uid))[1]) == content
