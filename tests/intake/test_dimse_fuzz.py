"""Whatever a stranger sends, a conversation ends: it neither crashes nor hangs, and leaves no partial file."""

import socket
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ichd.domain.retention import Watermarks
from ichd.intake.counter import Counter
from ichd.intake.dimse.conversation import Conversation, Terms
from ichd.intake.dimse.doorkeeper import Caps, Doorkeeper
from ichd.intake.dimse.meter import Meter
from ichd.intake.dimse.negotiation import Welcome, offered_contexts
from ichd.intake.dimse.serving import Offer
from ichd.intake.dimse.wire import Wire
from ichd.intake.service import Answer, Request, Service, Status
from ichd.store.arrivals import Arrivals
from ichd.store.engine import migrate, open_database
from ichd.store.spool import Spool
from tests.intake.images import encode, image
from tests.intake.pdus import RELEASE_RQ, USUAL, Proposals, associate_rq, echo_rq, p_data, service_rq, store_rq
from tests.intake.test_scp import uid

COMMITMENT = "1.2.840.10008.1.20.1"
COMMITMENT_CONTEXT = 5
PROPOSALS: Proposals = (*USUAL, (COMMITMENT, ("1.2.840.10008.1.2",)))


def commit(request: Request) -> Answer:
    return Answer(status=Status.SUCCESS if request.dataset else Status.MISSING_ATTRIBUTE)


SERVICES: Mapping[str, Service] = MappingProxyType({COMMITMENT: commit})

#: Everything that a conversation is made of, in the order of a good one.
GOOD = [
    associate_rq(PROPOSALS),
    echo_rq(),
    *store_rq(encode(image(1)), uid(1), max_pdu=1024),
    *service_rq(
        "N-ACTION",
        sop_class_uid=COMMITMENT,
        sop_instance_uid="1.2.840.10008.1.20.1.1",
        type_id=1,
        dataset=b"\0" * 8,
        context_id=COMMITMENT_CONTEXT,
    ),
    RELEASE_RQ,
]

pdus = st.one_of(
    st.sampled_from(GOOD),
    st.builds(
        lambda context, control, data: p_data((context, control, data)),
        st.sampled_from([0, 1, 2, 3, 5, 7, 255]),
        st.integers(0, 7),
        st.binary(max_size=80),
    ),
    st.builds(
        lambda kind, body: bytes((kind, 0)) + len(body).to_bytes(4, "big") + body, st.integers(0, 9), st.binary()
    ),
    st.binary(max_size=40),
)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A good conversation with some bytes changed, put in or left out."""
    stream = bytearray(b"".join(GOOD))
    for _ in range(draw(st.integers(1, 4))):
        # Most of the stream is pixels: half of the changes go to where the protocol is.
        end = draw(st.sampled_from([len(GOOD[0]), len(GOOD[0]) + 120, len(stream)]))
        at = draw(st.integers(0, max(min(end, len(stream)) - 1, 0)))
        kind = draw(st.sampled_from(["change", "insert", "cut", "stop"]))
        if kind == "change":
            stream[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif kind == "insert":
            stream[at:at] = draw(st.binary(min_size=1, max_size=12))
        elif kind == "cut":
            del stream[at : at + draw(st.integers(1, 12))]
        else:
            del stream[at + 1 :]
    return bytes(stream)


class Room:
    """What stands behind the conversations."""

    def __init__(self, folder: Path) -> None:
        url = f"sqlite:///{folder / 'ichd.db'}"
        migrate(url)
        self.engine = open_database(url)
        self.spool = folder / "spool"
        counter = Counter(Arrivals(self.engine), Spool(self.spool), watermarks=Watermarks(high=1, low=1))
        counter.open(now=datetime.now(UTC))
        caps = Caps(connections=9, connections_per_address=9, associations=9, associations_per_address=9)
        self.terms = Terms(
            counter=counter,
            doorkeeper=Doorkeeper(caps),
            welcome=Welcome(ae_title="ICHD", allowed_peers=(), require_called_ae_title=False),
            offered=offered_contexts(SERVICES),
            offer=Offer(services=SERVICES),
            provided=frozenset(SERVICES),
            place="here",
            max_pdu=131072,
            association_timeout_s=2.0,
            tls=None,
            clock=lambda: datetime.now(UTC),
            meter=Meter(),
        )

    def partial_files(self) -> list[Path]:
        return [path for path in self.spool.rglob("*") if path.is_file() and path.suffix != ".dcm"]


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    room = Room(tmp_path_factory.mktemp("room"))
    yield room
    room.engine.dispose()


def converse(room: Room, stream: bytes) -> bytes:
    """What the other side hears to the end, once `stream` is said and nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as peer:
        connection, _ = server.accept()
        conversation = Conversation(Wire(connection, max_pdu=131072, timeout_s=2.0), "127.0.0.1", room.terms)
        room.terms.doorkeeper.enter(conversation, "127.0.0.1")
        failures: list[BaseException] = []

        def run() -> None:
            try:
                conversation.run()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the test must say so
                failures.append(error)
            finally:
                room.terms.doorkeeper.leave(conversation)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        peer.settimeout(30)
        heard = b""
        try:
            peer.sendall(stream)
            peer.shutdown(socket.SHUT_WR)
            while part := peer.recv(1 << 16):
                heard += part
        except (ConnectionError, OSError):
            pass  # it had heard enough
        thread.join(30)
        assert not thread.is_alive()
        assert failures == []
    return heard


def test_a_good_conversation_is_a_good_one(room: Room) -> None:
    """Or the others would prove little."""
    heard = converse(room, b"".join(GOOD))
    kinds = []
    while heard:
        kinds.append(heard[0])
        heard = heard[6 + int.from_bytes(heard[2:6], "big") :]
    assert kinds == [2, 4, 4, 4, 6]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=st.one_of(mutated(), st.lists(pdus, max_size=8).map(b"".join)))
def test_any_stream_ends(room: Room, stream: bytes) -> None:
    converse(room, stream)
    assert room.partial_files() == []


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=st.lists(pdus, max_size=8).map(b"".join))
def test_any_stream_inside_an_association_ends(room: Room, stream: bytes) -> None:
    heard = converse(room, GOOD[0] + stream)
    assert heard[:1] in {b"\x02", b""}
    assert room.partial_files() == []
