"""What the door counts of itself: each answer by its status, each association by its end."""

from ichd.intake.dimse.meter import Ending, Meter
from tests.intake.conftest import House, OpenHouse
from tests.intake.images import encode, image
from tests.intake.pdus import rejection_from
from tests.intake.senders import SUCCESS
from tests.intake.test_scp import dcmtk, uid, until


def figure(house: House, name: str) -> float:
    return house.listener.meter.figures().get(name, 0)


def test_answers_are_counted_by_command_and_status(house: House) -> None:
    assert dcmtk("echoscu", "-aec", "ICHD", "127.0.0.1", str(house.port)).returncode == 0
    with house.sender() as sender:
        assert sender.store(encode(image(SOPInstanceUID=uid(1))), uid(1)).status == SUCCESS
        assert sender.store(encode(image(SOPInstanceUID=uid(1))), uid(1)).status == SUCCESS
        assert sender.store(encode(image(SOPInstanceUID=uid(2), Modality="MR")), uid(2)).status == 0xA900
        assert figure(house, "associations/open") == 1

    until(lambda: figure(house, "associations/released") == 2)
    assert figure(house, "responses/c_echo/0x0000") == 1
    assert figure(house, "responses/c_store/0x0000") == 2
    assert figure(house, "responses/c_store/0xa900") == 1
    assert figure(house, "associations/open") == 0


def test_who_breaks_off_and_who_is_rejected_is_counted(open_house: OpenHouse) -> None:
    house = open_house(require_called_ae_title=True, ae_title="ELSEWHERE")
    assert rejection_from(house.port) is not None
    until(lambda: figure(house, "associations/rejected") == 1)

    house = open_house()
    house.sender().break_off(encode(image(SOPInstanceUID=uid(1))), uid(1))
    until(lambda: figure(house, "associations/aborted") == 1)
    assert figure(house, "associations/released") == 0


def test_numbers_that_a_peer_makes_up_have_one_name() -> None:
    meter = Meter()
    for field in range(0x0200, 0x0300):
        meter.answered(field, 0x0211)
    meter.ended(Ending.REJECTED)

    assert meter.figures() == {
        "associations/released": 0,
        "associations/aborted": 0,
        "associations/rejected": 1,
        "associations/open": 0,
        "responses/other/0x0211": 256,
    }
