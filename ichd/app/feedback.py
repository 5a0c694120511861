"""The door for readers' words that come as HL7 messages."""

from collections.abc import Iterator
from contextlib import contextmanager

from ichd.app.clock import utc_now
from ichd.app.storage import Storage
from ichd.intake.feedback.hl7_door import Hl7Door
from ichd.intake.feedback.hl7_words import Vocabulary
from ichd.intake.feedback.mllp import MllpConfig, MllpServer
from ichd.settings import Settings
from ichd.store.arrivals import Arrivals
from ichd.store.reviews import Reviews


@contextmanager
def hl7_door(settings: Settings, storage: Storage) -> Iterator[MllpServer | None]:
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
    server = MllpServer(MllpConfig(host=feedback.hl7_host, port=feedback.hl7_port), door.answer, utc_now)
    server.start()
    try:
        yield server
    finally:
        server.stop()
