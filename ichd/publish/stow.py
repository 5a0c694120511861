"""The objects of a study to a DICOMweb server, by STOW-RS (PS3.18 10.5); what it lists, by QIDO-RS (10.6).

The one module that reaches into dicomweb-client beyond its documentation: `store_instances` takes data sets and encodes
them anew, where files must arrive byte for byte. It relies on `_http_post_multipart_application_dicom`, which takes
encoded ones; tests/publish/test_stow.py fails when that moves.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

import requests
from dicomweb_client.api import DICOMwebClient
from pydicom import Dataset

from ichd.domain.delivery import Outgoing, Parcel, Receipt, proposed
from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.publish.identifier import UNREADABLE
from ichd.publish.ladder import ship
from ichd.publish.peer import CLASS_NOT_SUPPORTED, failure
from ichd.publish.session import WebSession
from ichd.publish.web import WebPeer, broken, failed

#: Nothing was stored, and the body says why (PS3.18 table 10.5.3-1); a few servers say 400 then.
_SAYS_WHY = frozenset({400, 409})
_JSON = frozenset({"application/dicom+json", "application/json"})
_NOT_FOUND = 404

_Answer = TypeVar("_Answer")


@dataclass(frozen=True, kw_only=True)
class Stow:
    """The way to one DICOMweb server."""

    peer: WebPeer

    @property
    def name(self) -> str:
        """How receipts and messages call it."""
        return self.peer.name

    @property
    def is_loopback(self) -> bool:
        """Whether objects sent there stay on this machine."""
        return self.peer.is_loopback

    def deliver(self, parcel: Parcel, *, now: datetime) -> Receipt:
        """Send all objects of a study in one request; what the server turns down as a class, a rung lower in another.

        Raises:
            Transient, Permanent: as `ichd.publish.web` and `ichd.publish.peer` have them.
        """
        delivery = _Delivery(self.peer)
        # There is no negotiation: a server says what it does not take when it gets it.
        shipment = ship(parcel, delivery.store, accepted=proposed(parcel.wanted), kind_by_kind=False)
        return Receipt(
            destination=self.name,
            sent_at=now,
            sop_instance_uids=shipment.uids,
            sop_class_uid=shipment.rung,
            status=delivery.status,
            left_out=shipment.choice.left_out,
            address=self.peer.host,
        )

    def check(self) -> str:
        """Ask for one study.

        Raises:
            Transient, Permanent: no answer, or a refusal.
        """
        with WebSession(self.peer) as session:
            client = _Files(self.peer, session)
            _asked(self.peer, lambda: client.search_for_studies(limit=1))
        return "answers QIDO-RS"

    def missing(self, study_instance_uid: str, objects: Sequence[Outgoing]) -> tuple[str, ...]:
        """SOP Instance UIDs of those objects that the server does not list, in their order; each is asked for alone.

        Raises:
            Transient, Permanent: it can't be asked.
        """
        with WebSession(self.peer) as session:
            client = _Files(self.peer, session)
            return tuple(
                each.sop_instance_uid
                for each in objects
                if not _lists(self.peer, client, study_instance_uid, each.sop_instance_uid)
            )


class _Files(DICOMwebClient):
    """Sends files as they are, once."""

    def __init__(self, peer: WebPeer, session: requests.Session) -> None:
        # In chunks, a server must take a body of unknown length, and not every one does. The first of the two timeouts
        # is for connecting and for writing.
        super().__init__(
            peer.url.rstrip("/"),
            session=session,
            chunk_size=1 << 40,
            permissive_uid=True,
            timeout=(peer.timeout_s, peer.timeout_s),
        )
        # Only the queue retries.
        self.set_http_retry_params(retry=False)

    def store_files(self, files: Sequence[bytes]) -> Dataset:
        """The server's account of them (PS3.18 table I.2-1).

        Raises:
            requests.RequestException: it gives none.
        """
        try:
            return self._http_post_multipart_application_dicom(f"{self.base_url}/studies", files)
        except requests.HTTPError as error:
            answer = error.response
            if answer is None or answer.status_code not in _SAYS_WHY or answer.headers["Content-Type"] not in _JSON:
                raise
            return Dataset.from_json(answer.json())


class _Delivery:
    """The requests of one delivery."""

    def __init__(self, peer: WebPeer) -> None:
        self._peer = peer
        #: HTTP status of the last one.
        self.status = ""

    def store(self, objects: Sequence[Outgoing]) -> Collection[str]:
        """Send objects; the classes that the server does not take."""
        files = [each.path.read_bytes() for each in objects]
        with WebSession(self._peer) as session:
            client = _Files(self._peer, session)
            account = _asked(self._peer, lambda: client.store_files(files))
            self.status = str(session.last_status)
        try:
            return _judge(self._peer, account, objects)
        except UNREADABLE as error:
            raise _no_dicom(self._peer) from error


def _judge(peer: WebPeer, account: Dataset, objects: Sequence[Outgoing]) -> Collection[str]:
    """The classes that the server does not take.

    Raises:
        Transient, Permanent: an object failed for another reason, or the server does not say what became of it.
    """
    failures = {
        str(item.get("ReferencedSOPInstanceUID", "")): int(item.FailureReason)
        for name in ("FailedSOPSequence", "OtherFailuresSequence")
        for item in account.get(name) or ()
    }
    trouble = [failure(peer, reason) for reason in failures.values() if reason != CLASS_NOT_SUPPORTED]
    if trouble:
        # What will not pass by itself counts for more than what may.
        raise min(trouble, key=lambda error: isinstance(error, Transient))
    taken = {str(item.ReferencedSOPInstanceUID) for item in account.get("ReferencedSOPSequence") or ()}
    for each in objects:
        # A page that wants a password is answered with 200, too.
        if each.sop_instance_uid not in taken and each.sop_instance_uid not in failures:
            raise Transient(Reason.PEER_CONFUSED, f"{peer} does not say what became of {each.sop_instance_uid}")
    return {each.sop_class_uid for each in objects if each.sop_instance_uid in failures}


def _lists(peer: WebPeer, client: _Files, study_instance_uid: str, sop_instance_uid: str) -> bool:
    def search() -> Sequence[Mapping[str, Any]]:
        try:
            return client.search_for_instances(study_instance_uid, search_filters={"SOPInstanceUID": sop_instance_uid})
        except requests.HTTPError as error:
            if _status_of(error) == _NOT_FOUND:
                # It does not know the study.
                return []
            raise

    # A server that ignores the key lists others, too.
    return _asked(peer, lambda: any(match["00080018"]["Value"] == [sop_instance_uid] for match in search()))


def _asked(peer: WebPeer, ask: Callable[[], _Answer]) -> _Answer:
    """The answer to a request.

    Raises:
        Transient, Permanent: as `ichd.publish.web` has them; or the answer is no DICOM.
    """
    try:
        return ask()
    except (requests.HTTPError, requests.TooManyRedirects) as error:
        raise failed(peer, _status_of(error)) from error
    except requests.JSONDecodeError as error:
        raise _no_dicom(peer) from error
    except requests.RequestException as error:
        raise broken(peer, error) from error
    except (*UNREADABLE, SyntaxError) as error:
        # The last is what XML raises.
        raise _no_dicom(peer) from error


def _status_of(error: requests.RequestException) -> int:
    return 0 if error.response is None else error.response.status_code


def _no_dicom(peer: WebPeer) -> Transient:
    return Transient(Reason.PEER_CONFUSED, f"{peer} answered with what is no DICOM")
