"""The door for readers' words that come as HL7 messages."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from ichd.app.clock import Clock
from ichd.app.storage import Storage
from ichd.domain.errors import UserError
from ichd.intake.feedback.hl7_door import Hl7Door
from ichd.intake.feedback.hl7_words import Vocabulary
from ichd.intake.feedback.mllp import MllpConfig, MllpServer
from ichd.settings import Settings
from ichd.settings.base import LOOPBACK
from ichd.settings.destinations import FeedbackSettings
from ichd.store.arrivals import Arrivals
from ichd.store.reviews import Reviews


@contextmanager
def hl7_door(settings: Settings, storage: Storage, clock: Clock) -> Iterator[MllpServer | None]:
    """Take messages inside the block, where the settings name a port.

    In the web role, where words come by `/api` too: the listener is for images, and what is not needed for them should
    not be able to bring it down.

    Raises:
        UserError: the port can't be used.
    """
    feedback = settings.feedback
    if feedback.hl7_port is None:
        yield None
        return
    vocabulary = Vocabulary(observation=feedback.observation, agreed=feedback.agreed, disagreed=feedback.disagreed)
    door = Hl7Door(vocabulary, Reviews(storage.engine), Arrivals(storage.engine))
    server = MllpServer(MllpConfig(host=feedback.hl7_host, port=feedback.hl7_port), door.answer, clock)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def examine_hl7_door(feedback: FeedbackSettings) -> str:
    """What `ichd doctor` says of it; nothing is sent, for every message is answered and may be written down.

    Raises:
        UserError: nobody listens there.
    """
    here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(feedback.hl7_host, feedback.hl7_host)  # noqa: S104 - compared
    try:
        socket.create_connection((here, feedback.hl7_port or 0), timeout=5.0).close()
    except OSError as error:
        raise UserError(f"nobody takes HL7 messages on port {feedback.hl7_port}; start `ichd serve`") from error
    said = f"port {feedback.hl7_port} takes words on findings by the code {feedback.observation}"
    if feedback.hl7_host not in LOOPBACK:
        return f"{said}; it has no TLS and asks nobody who he is: keep it inside a network of its own"
    return said
