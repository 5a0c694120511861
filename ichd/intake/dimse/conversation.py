"""One association from its first byte to its last: negotiation, then message after message, in one thread."""

import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

import structlog

from ichd.domain.arrival import Door
from ichd.domain.errors import Refused
from ichd.domain.reason import Reason
from ichd.intake.claim import Sender
from ichd.intake.counter import Counter
from ichd.intake.dimse.associate import AssociateRequest, acceptance, read_request, rejection
from ichd.intake.dimse.doorkeeper import Doorkeeper
from ichd.intake.dimse.messages import Messages, Released
from ichd.intake.dimse.meter import Ending, Meter
from ichd.intake.dimse.negotiation import Welcome, accepted, answers, objection, roles_of
from ichd.intake.dimse.pdu import (
    AbortReason,
    PduType,
    PeerGone,
    PeerSilent,
    Violation,
    abort_by_provider,
    abort_by_user,
    command_pdus,
    release_response,
)
from ichd.intake.dimse.serving import Offer, Serving
from ichd.intake.dimse.wire import Wire
from ichd.intake.peers import Rejection
from ichd.intake.visit import Visit

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What all conversations of a listener share."""

    counter: Counter
    doorkeeper: Doorkeeper
    welcome: Welcome
    #: Transfer syntaxes by SOP class.
    offered: Mapping[str, tuple[str, ...]]
    offer: Offer
    #: SOP classes of services that a peer may provide to us.
    provided: frozenset[str]
    #: Where we listen.
    place: str
    max_pdu: int
    association_timeout_s: float
    #: The TLS of the moment; None where we speak plainly.
    tls: Callable[[], ssl.SSLContext] | None
    clock: Callable[[], datetime]
    meter: Meter


class Conversation:
    """Lives in one thread, which calls `run`; `finish` and `drop` are for any other."""

    def __init__(self, wire: Wire, address: str, terms: Terms) -> None:
        self._wire = wire
        self._address = address
        self._terms = terms
        self._deadline = time.monotonic() + terms.association_timeout_s
        self._messages: Messages | None = None
        self._visit: Visit | None = None
        self._finishing = False

    def run(self) -> None:
        """Talk until either side has had enough; the connection is closed afterwards, whatever happens."""
        last_words = b""
        try:
            last_words = self._converse()
        except Violation as error:
            _log.warning("association_violated", rule=str(error), address=self._address)
            last_words = abort_by_provider(error.reason)
        except PeerSilent:
            last_words = abort_by_user() if self._messages else b""
        except PeerGone:
            last_words = abort_by_user() if self._finishing and self._messages else b""
        finally:
            try:
                self._end(released=False)
            finally:
                self._wire.hang_up(last_words)

    def finish(self) -> None:
        """Come to an end: at once, or once the message under way is answered."""
        self._finishing = True
        messages = self._messages
        if messages is None:
            self._wire.drop()
        elif not messages.under_way:
            self._wire.interrupt()

    def drop(self) -> None:
        """End the connection without a word, whatever is under way."""
        self._wire.drop()

    def _converse(self) -> bytes:
        """All of it, up to the last words that are still to be said."""
        if self._terms.tls is not None and not self._secure(self._terms.tls()):
            return b""
        kind, body = self._wire.read_pdu(deadline=self._deadline)
        if kind != PduType.ASSOCIATE_RQ:
            # An abort ends what has not begun (PS3.8 table 9-10, AA-2).
            return b"" if kind == PduType.ABORT else abort_by_provider(AbortReason.UNEXPECTED_PDU)
        request = read_request(body)
        sender = Sender(calling_ae_title=request.calling_ae_title, address=self._address)
        rejected = objection(request, self._address, self._terms.welcome) or self._terms.doorkeeper.associate(self)
        if rejected is not None:
            self._reject(rejected, sender)
            return b""
        return self._serve(request, sender)

    def _serve(self, request: AssociateRequest, sender: Sender) -> bytes:
        terms = self._terms
        answered = answers(request, terms.offered)
        contexts = accepted(request, answered)
        self._visit = visit = terms.counter.welcome(sender, door=Door.DIMSE, place=terms.place, now=terms.clock())
        terms.meter.accepted()
        self._messages = messages = Messages(self._wire, contexts)
        serving = Serving(messages, contexts, visit, sender, terms.offer, terms.clock)
        roles = roles_of(request, contexts, terms.provided)
        self._wire.send(acceptance(request, answered, max_pdu=terms.max_pdu, roles=roles))
        try:
            while not self._finishing:
                context_id, command = messages.next_command()
                reply = serving.answer(context_id, command)
                if reply.command_set:
                    # Before it is said: who hears it may look at once.
                    terms.meter.answered(command.field, reply.status)
                    self._wire.send(command_pdus(context_id, reply.command_set, longest=request.max_pdu))
                if reply.is_last:
                    break
                # Before we look whether to finish: `finish` looks the other way round, so that one of us sees.
                messages.under_way = False
        except Released:
            # Some close the connection right behind their request: it was a release all the same.
            with suppress(PeerGone):
                self._wire.send(release_response())
            # Now, and not when the peer closes the connection, which some never do.
            self._end(released=True)
            return b""
        return abort_by_user()

    def _secure(self, context: ssl.SSLContext) -> bool:
        try:
            self._wire.secure(context, deadline=self._deadline)
        except ssl.SSLEOFError:
            return False
        except ssl.SSLError as error:
            # OpenSSL's name of what went wrong: it speaks of versions and certificates.
            trouble = Refused(Reason.TLS_HANDSHAKE_FAILED, str(error.reason or "unknown").lower())
            sender = Sender(calling_ae_title="", address=self._address)
            self._terms.counter.turn_away_association(trouble, sender, now=self._terms.clock())
            return False
        except OSError:
            return False
        return True

    def _reject(self, rejected: Rejection, sender: Sender) -> None:
        answer = rejected.value
        self._terms.meter.ended(Ending.REJECTED)
        self._wire.send(rejection(answer.result, answer.source, answer.diagnostic))
        # Only then: the database may keep us waiting, the peer should not.
        self._terms.counter.turn_away_association(rejected.as_error(), sender, now=self._terms.clock())

    def _end(self, *, released: bool) -> None:
        """The association is over; to say it twice is no news."""
        self._terms.doorkeeper.part(self)
        if self._visit is not None and self._visit.end(released=released, now=self._terms.clock()):
            self._terms.meter.ended(Ending.RELEASED if released else Ending.ABORTED)
