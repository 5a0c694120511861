"""The objects of a study to a DICOM node, by C-STORE over one association."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pydicom
from pydicom.uid import UID
from pynetdicom.dsutils import split_dataset

from ichd.domain.delivery import Outgoing, Parcel, Receipt, proposed
from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.publish import commitment, find
from ichd.publish.association import SYNTAXES, Association, associated_with, in_all_syntaxes
from ichd.publish.command import Command, CommandField, Tag
from ichd.publish.commitment import CommitmentReport
from ichd.publish.echo import echo
from ichd.publish.identifier import encoded
from ichd.publish.ladder import ship
from ichd.publish.pdu import Context
from ichd.publish.peer import CLASS_NOT_SUPPORTED, DimsePeer, Verdict, failure, judge_status


@dataclass(frozen=True, kw_only=True)
class CStore:
    """The way to one DICOM node."""

    peer: DimsePeer

    @property
    def name(self) -> str:
        """How receipts and messages call it."""
        return self.peer.name

    @property
    def is_loopback(self) -> bool:
        """Whether objects sent there stay on this machine."""
        return self.peer.is_loopback

    def deliver(self, parcel: Parcel, *, now: datetime) -> Receipt:
        """Send all objects of a study over one association, in the richest form that the peer accepts.

        Raises:
            Transient, Permanent: as `ichd.publish.peer` has them.
        """
        with associated_with(self.peer, in_all_syntaxes(proposed(parcel.wanted))) as association:
            delivery = _Delivery(self.peer, association)
            shipment = ship(parcel, delivery.store, accepted=association.accepted, kind_by_kind=True)
        return Receipt(
            destination=self.name,
            sent_at=now,
            sop_instance_uids=shipment.uids,
            sop_class_uid=shipment.rung,
            status=f"0x{delivery.status:04X}",
            left_out=shipment.choice.left_out,
            ae_title=self.peer.ae_title,
            address=self.peer.host,
        )

    def check(self) -> str:
        """C-ECHO.

        Raises:
            Transient, Permanent: no answer, or a refusal.
        """
        echo(self.peer)
        return "answers C-ECHO"

    def missing(self, study_instance_uid: str, objects: Sequence[Outgoing]) -> tuple[str, ...]:
        """What the peer does not list, by C-FIND.

        Raises:
            Transient, Permanent: as `ichd.publish.find.missing`.
        """
        return find.missing(self.peer, study_instance_uid, objects)

    def request_commitment(
        self, transaction_uid: str, objects: Sequence[Outgoing], *, patience_s: float
    ) -> CommitmentReport | None:
        """Ask the peer to take responsibility.

        Raises:
            Transient, Permanent: as `ichd.publish.commitment.request`.
        """
        return commitment.request(self.peer, transaction_uid, objects, patience_s=patience_s)


class _Delivery:
    """The stores of one association."""

    def __init__(self, peer: DimsePeer, association: Association) -> None:
        self._peer = peer
        self._association = association
        #: A warning on any object is worth more to a reader than success on the last one.
        self.status = 0x0000

    def store(self, objects: Sequence[Outgoing]) -> Collection[str]:
        """Send objects; the classes that the peer accepted in the negotiation and turns down all the same."""
        turned_down: set[str] = set()
        for each in objects:
            if each.sop_class_uid in turned_down:
                continue
            status = store_file(self._peer, self._association, each).status
            if status == CLASS_NOT_SUPPORTED:
                turned_down.add(each.sop_class_uid)
            elif judge_status(status) is not Verdict.STORED:
                raise failure(self._peer, status)
            else:
                self.status = status or self.status
        return turned_down


def store_file(peer: DimsePeer, association: Association, each: Outgoing) -> Command:
    """Send one object, byte for byte where the peer takes its encoding; the answer.

    Raises:
        Transient: the association broke, or there was no answer in time.
        Permanent: the peer takes no encoding of it that can be written.
    """
    meta, offset = split_dataset(each.path)
    own = str(meta.TransferSyntaxUID)
    as_it_lies = association.context(each.sop_class_uid, [own])
    if as_it_lies is not None:
        # The file is read at once: it is of some MB, and the mapped one could change under our hands.
        return _ask(association, as_it_lies, each, memoryview(each.path.read_bytes())[offset:])
    other = association.context(each.sop_class_uid) if own in SYNTAXES else None
    if other is None:
        raise Permanent(Reason.NO_ACCEPTED_CONTEXT, f"{peer} does not accept {UID(each.sop_class_uid).name}")
    return _ask(association, other, each, _converted(each.path, other))


def _converted(path: Path, context: Context) -> bytes:
    return encoded(pydicom.dcmread(path), context)


def _ask(association: Association, context: Context, each: Outgoing, data_set: bytes | memoryview) -> Command:
    elements: dict[Tag, int | str] = {
        Tag.AFFECTED_SOP_CLASS_UID: each.sop_class_uid,
        Tag.AFFECTED_SOP_INSTANCE_UID: each.sop_instance_uid,
        Tag.PRIORITY: 0,
    }
    return association.ask(context, CommandField.C_STORE, elements, data_set).command
