"""The second step: what is to be said goes to one destination, and the receipt, or the proof, is kept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import structlog

from ichd.domain.delivery import LADDER, ObjectKind, Outgoing, Parcel, Proof
from ichd.domain.errors import Permanent
from ichd.domain.finding import Triage
from ichd.domain.reason import Reason
from ichd.domain.record import Record
from ichd.pipeline.clock import Clock
from ichd.pipeline.proof import Again, Confirm, read_back, seek_commitment
from ichd.pipeline.rendering import Renderer
from ichd.publish.sender import Commits, ReadsBack, Sender
from ichd.report.hl7_letter import Addressee
from ichd.store.deliveries import Deliveries, DeliveryWork
from ichd.store.outbox import Outbox
from ichd.store.promises import Promises
from ichd.store.queue import Job

log = structlog.get_logger(__name__)

#: An archive needs a moment to file what it has acknowledged.
_PROOF_AFTER = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Route:
    """One destination, and what it is to get."""

    sender: Sender
    wanted: tuple[ObjectKind, ...]
    addressee: Addressee
    #: Who will answer for storage commitment; empty where nobody does.
    ae_title: str = ""
    #: It is told of studies that were not analysed.
    not_analysed: bool = False
    confirm: Confirm = Confirm.NO

    def wants(self, record: Record) -> tuple[ObjectKind, ...]:
        """What it gets about a study with this record: nothing where it is none of its business."""
        if record["scan"] is None:
            told = {ObjectKind.SR, ObjectKind.RESULT, ObjectKind.JSON, ObjectKind.JSON_IDENTIFIED}
            # A report says that there is none; whoever wanted pictures only has none to look at.
            return tuple(kind for kind in self.wanted if kind in told) if self.not_analysed else ()
        urgent = record["triage"] == Triage.URGENT
        return tuple(kind for kind in self.wanted if kind is not ObjectKind.PRIORITY or urgent)


@dataclass(frozen=True, kw_only=True)
class DeliveryPolicy:
    """Where reports may go, by the names of the destinations."""

    routes: Mapping[str, Route]
    #: Let the results of a demonstration model leave this machine.
    allow_demo: bool

    def destinations(self, record: Record) -> list[str]:
        """Who is to be told of a study with this record."""
        return [name for name, route in self.routes.items() if route.wants(record)]


class Courier:
    """Does the deliveries of a worker's lanes. Safe for any number of threads."""

    def __init__(
        self,
        *,
        deliveries: Deliveries,
        outbox: Outbox,
        renderer: Renderer,
        promises: Promises,
        policy: DeliveryPolicy,
        clock: Clock,
    ) -> None:
        self._deliveries = deliveries
        self._outbox = outbox
        self._renderer = renderer
        self._promises = promises
        self._policy = policy
        self._clock = clock

    def publish(self, job: Job) -> None:
        """One `publish` job from claim to receipt, or from receipt to proof.

        Raises:
            LeaseLost: the job was given away; the peer may hold the report, under the UID that a resend has too.
            Transient, Permanent: with the coded reason of what went wrong.
        """
        work = self._deliveries.begin(job, now=self._clock())
        route = self._route(work)
        unmade: list[ObjectKind] = []
        parcel = self._parcel(route, work, unmade)
        if work.sent is not None:
            self._prove(job, work, route, parcel)
            return
        receipt = route.sender.deliver(parcel, now=self._clock())
        receipt = replace(receipt, left_out=(*receipt.left_out, *unmade))
        if route.confirm is Confirm.NO:
            self._deliveries.delivered(job, receipt, now=self._clock())
        else:
            now = self._clock()
            self._deliveries.sent(job, receipt, look_at=now + _PROOF_AFTER, now=now)
        log.info(
            "report_delivered",
            study=job.study_uid,
            revision=job.revision,
            destination=work.destination,
            objects=len(receipt.sop_instance_uids),
            left_out=[str(kind) for kind in receipt.left_out],
        )

    def _prove(self, job: Job, work: DeliveryWork, route: Route, parcel: Parcel) -> None:
        sent = work.sent
        if sent is None:
            raise ValueError(f"job {job.id} has sent nothing yet")
        objects = self._objects(work, parcel, sent.sop_instance_uids)

        def send_again() -> None:
            route.sender.deliver(parcel, now=self._clock())

        proof = self._sought(job, route, objects, send_again)
        now = self._clock()
        self._deliveries.delivered(job, replace(sent, proof=proof, proved_at=now), now=now)
        log.info("report_proved", study=job.study_uid, revision=job.revision, destination=sent.destination, proof=proof)

    def _sought(self, job: Job, route: Route, objects: Sequence[Outgoing], send_again: Again) -> Proof:
        sender = route.sender
        if route.confirm is Confirm.READ_BACK and isinstance(sender, ReadsBack):
            return read_back(sender, job.study_uid, objects, attempt=job.attempt, send_again=send_again)
        if route.confirm is Confirm.COMMITMENT and isinstance(sender, Commits):
            return seek_commitment(
                sender,
                route.ae_title,
                job.id,
                objects,
                promises=self._promises,
                clock=self._clock,
                send_again=send_again,
            )
        # The settings asked for no proof any more, or never for one that this kind of destination can give.
        return Proof.SENT

    def _objects(self, work: DeliveryWork, parcel: Parcel, uids: Sequence[str]) -> tuple[Outgoing, ...]:
        """What was sent, as it lies in the outbox."""
        kinds = self._outbox.kinds_of(work.study_id, work.revision, uids)
        return tuple(each for each in parcel.fetch(kinds) if each.sop_instance_uid in uids)

    def _parcel(self, route: Route, work: DeliveryWork, unmade: list[ObjectKind]) -> Parcel:
        """What the destination is to get; kinds that can't be made are noted in `unmade`."""
        rendering = self._renderer.begin(work, route.addressee)
        fetched: dict[ObjectKind, tuple[Outgoing, ...]] = {}

        def get(kind: ObjectKind) -> tuple[Outgoing, ...]:
            try:
                return rendering.get(kind)
            except Permanent as trouble:
                if not any(rung in fetched for rung in LADDER):
                    raise
                # The report is on its way: a companion that can't be made must not keep it from its receipt.
                log.warning("object_not_made", study=work.study_uid, kind=kind, reason=trouble.reason)
                unmade.append(kind)
                return ()

        def fetch(kinds: Sequence[ObjectKind]) -> Sequence[Outgoing]:
            for kind in kinds:
                if kind not in fetched:
                    fetched[kind] = get(kind)
            return [each for kind in kinds for each in fetched[kind]]

        return Parcel(study_instance_uid=work.study_uid, wanted=route.wants(work.record), fetch=fetch)

    def _route(self, work: DeliveryWork) -> Route:
        route = self._policy.routes.get(work.destination)
        if route is None:
            raise Permanent(Reason.DESTINATION_UNKNOWN, f"destination {work.destination}")
        model = work.record["model"]
        if model and model["demonstration"] and not route.sender.is_loopback and not self._policy.allow_demo:
            raise Permanent(Reason.DEMO_MODEL_BLOCKED, f"model {model['name']}, destination {work.destination}")
        return route
