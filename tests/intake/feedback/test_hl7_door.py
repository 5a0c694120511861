"""The HL7 door over the wire: what is kept, what is acknowledged how, and what hostile peers can't do."""

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import hl7
import pytest
from hl7.client import MLLPClient
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from ichd.domain.errors import UserError
from ichd.domain.reason import Reason
from ichd.domain.review import Agreement, ReviewSource
from ichd.intake.feedback.hl7_door import Hl7Door
from ichd.intake.feedback.hl7_words import Vocabulary
from ichd.intake.feedback.mllp import MllpConfig, MllpServer
from ichd.store.arrivals import Arrivals
from ichd.store.engine import migrate, open_database
from ichd.store.reviews import GivenReview, Reviews
from ichd.store.spool import Spool
from ichd.store.tables import RefusalRow
from tests.intake.conftest import now
from tests.store.house import STUDY, house_on

OURS = Vocabulary(observation="ICH-AI", agreed=("AGREED",), disagreed=("DISAGREED",))
OTHER = "1.2.840.2"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """A database with a study that was read."""
    url = f"sqlite:///{tmp_path / 'ichd.db'}"
    migrate(url)
    engine = open_database(url)
    house = house_on(engine, Spool(tmp_path / "spool"))
    house.ready()
    house.analyse()
    yield engine
    engine.dispose()


OpenDoor = Callable[..., MllpServer]


@pytest.fixture
def open_door(engine: Engine) -> Iterator[OpenDoor]:
    opened: list[MllpServer] = []

    def build(**limits: float) -> MllpServer:
        door = Hl7Door(OURS, Reviews(engine), Arrivals(engine))
        server = MllpServer(MllpConfig(host="127.0.0.1", port=0, **limits), door.answer, now)  # type: ignore[arg-type]
        server.start()
        opened.append(server)
        return server

    yield build
    for server in opened:
        server.stop()


@pytest.fixture
def door(open_door: OpenDoor) -> MllpServer:
    return open_door()


def result(
    value: str = "DISAGREED",
    *,
    study: str = f"OBX|1|ST|113014^DICOM Study^DCM||{STUDY}||||||F",
    accession: str = "",
    code: str = "ICH-AI",
    control_id: str = "M1",
    kind: str = "ORU^R01",
) -> str:
    segments = (
        f"MSH|^~\\&|RIS|CITY|ICHD||20260301120000||{kind}|{control_id}|P|2.3.1",
        "PID|1||P-42||Zzyzx^Quetzalcoatl",
        "OBR|1|||CT" + "|" * 14 + accession,
        study,
        f"OBX|2|CWE|{code}||{value}||||||F",
    )
    return "\r".join(segment for segment in segments if segment) + "\r"


def say(door: MllpServer, *messages: str) -> list[hl7.Message]:
    """Send messages as the hl7 library does; the acknowledgments."""
    with MLLPClient("127.0.0.1", door.port) as client:
        client.socket.settimeout(10)
        return [hl7.parse(client.send_message(each).strip(b"\x0b\x1c\r").decode()) for each in messages]


def code_of(acknowledgment: hl7.Message) -> tuple[str, str]:
    msa = acknowledgment.segment("MSA")
    return str(msa[1]), str(msa[2])


def reviews(engine: Engine) -> tuple[GivenReview, ...]:
    return Reviews(engine).of_study(STUDY)


def refusals(engine: Engine) -> list[RefusalRow]:
    with Session(engine) as session:
        return list(session.scalars(select(RefusalRow)))


def test_a_word_is_kept_and_acknowledged(door: MllpServer, engine: Engine) -> None:
    (told,) = say(door, result())
    assert code_of(told) == ("AA", "M1")
    msh = told.segment("MSH")
    assert [str(msh[n]) for n in (3, 5, 6, 9, 11, 12)] == ["ICHD", "RIS", "CITY", "ACK^R01", "P", "2.3.1"]
    (given,) = reviews(engine)
    assert (given.revision, given.review.agreement, given.review.source) == (1, Agreement.DISAGREED, ReviewSource.HL7)
    assert given.review.reviewer == "RIS"


def test_the_same_message_again_is_the_same_word(door: MllpServer, engine: Engine) -> None:
    assert [code_of(told)[0] for told in say(door, result(), result(), result("AGREED", control_id="M2"))] == ["AA"] * 3
    assert [given.review.agreement for given in reviews(engine)] == [Agreement.DISAGREED, Agreement.AGREED]


def test_a_study_is_known_by_its_accession_number(door: MllpServer, engine: Engine) -> None:
    (told,) = say(door, result(study="", accession="A-17"))
    assert code_of(told)[0] == "AA"
    assert len(reviews(engine)) == 1


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (result(study="OBX|1|ST|113014||1.2.3.4||||||F"), Reason.REVIEW_UNKNOWN),
        (result(study="", accession="B-1"), Reason.REVIEW_UNKNOWN),
        (result(study=""), Reason.REVIEW_UNKNOWN),
        (result("PERHAPS"), Reason.NO_REVIEW),
    ],
)
def test_what_can_not_be_kept_is_an_error_and_is_shown(
    door: MllpServer, engine: Engine, message: str, reason: Reason
) -> None:
    (told,) = say(door, message)
    assert code_of(told) == ("AE", "M1")
    assert str(told.segment("ERR")[8]) == str(reason)
    assert reviews(engine) == ()
    (refusal,) = refusals(engine)
    assert (refusal.reason, refusal.calling_ae_title, refusal.address) == (reason, "RIS", "127.0.0.1")
    assert "Zzyzx" not in f"{refusal.detail}{told}"


def test_results_that_are_no_words_are_taken_and_ignored(door: MllpServer, engine: Engine) -> None:
    (told,) = say(door, result(code="GDT"))
    assert code_of(told)[0] == "AA"
    assert (reviews(engine), refusals(engine)) == ((), [])


def test_other_messages_and_none_are_rejected(door: MllpServer, engine: Engine) -> None:
    other, none = say(door, result(kind="ADT^A01"), "hello")
    assert (code_of(other), code_of(none)) == (("AR", "M1"), ("AR", ""))
    assert [row.reason for row in refusals(engine)] == [Reason.NO_REVIEW] * 2
    (told,) = say(door, result())
    assert code_of(told)[0] == "AA"


def test_while_the_database_is_away_a_message_may_come_again(door: MllpServer, engine: Engine) -> None:
    database = Path(str(engine.url.database))
    engine.dispose()
    database.rename(database.with_suffix(".away"))
    database.mkdir()
    (told,) = say(door, result())
    assert code_of(told) == ("AR", "M1")
    assert str(told.segment("ERR")[8]) == "store_unavailable"


def connected(door: MllpServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", door.port), timeout=10)


def test_a_message_in_pieces_and_two_in_one_are_answered_each(door: MllpServer) -> None:
    frame = b"\x0b" + result().encode() + b"\x1c\r"
    with connected(door) as connection:
        for at in range(0, len(frame), 50):
            connection.sendall(frame[at : at + 50])
            time.sleep(0.001)
        assert connection.recv(4096).count(b"MSA|AA") == 1
        connection.sendall(frame + b"\r\n" + frame)
        answers = b""
        while answers.count(b"\x1c\r") < 2:
            answers += connection.recv(4096)
        assert answers.count(b"MSA|AA") == 2


def test_what_has_no_frame_or_no_end_is_dropped(open_door: OpenDoor) -> None:
    door = open_door(max_message_bytes=2000, message_timeout_s=0.3)
    for content in (b"GET / HTTP/1.1\r\n", b"\x0b" + bytes(40_000), b"\x0bMSH|"):
        with connected(door) as connection:
            began = time.monotonic()
            connection.sendall(content)
            with suppress(ConnectionResetError):
                assert connection.recv(4096) == b""
            assert time.monotonic() - began < 5


def test_a_dripping_sender_is_not_waited_for(open_door: OpenDoor) -> None:
    door = open_door(message_timeout_s=0.4)
    with connected(door) as connection:
        connection.sendall(b"\x0b")
        began = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):
            while time.monotonic() - began < 5:
                connection.sendall(b"M")
                time.sleep(0.05)
        assert time.monotonic() - began < 5


def test_idle_connections_make_room(open_door: OpenDoor) -> None:
    door = open_door(max_connections=3, max_connections_per_address=3)
    idle = [connected(door) for _ in range(3)]
    (told,) = say(door, result())
    assert code_of(told)[0] == "AA"
    assert idle[0].recv(1) == b""
    for connection in idle:
        connection.close()


def test_a_port_that_is_taken_is_said(door: MllpServer) -> None:
    second = MllpServer(MllpConfig(host="127.0.0.1", port=door.port), lambda *_: b"", now)
    with pytest.raises(UserError, match=r"feedback\.hl7_port"):
        second.start()


def test_it_stops_at_once_with_connections_open(open_door: OpenDoor) -> None:
    door = open_door()
    with connected(door) as connection:
        connection.sendall(b"\x0b" + result().encode() + b"\x1c\r")
        assert b"MSA|AA" in connection.recv(4096)
        began = time.monotonic()
        door.stop()
        assert time.monotonic() - began < 2
        assert connection.recv(1) == b""
