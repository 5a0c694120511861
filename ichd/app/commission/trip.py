"""One phantom's way: sent, read, reported, asked for, handed back; with the time of each leg."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import pydicom
from pydicom.dataset import Dataset

from ichd.app.clock import clock_of
from ichd.app.commission.phantoms import PhantomStudy
from ichd.app.commission.route import LiveRoute
from ichd.app.storage import Storage
from ichd.domain.delivery import SOP_CLASSES, ObjectKind, Receipt
from ichd.domain.errors import CodedError, UserError
from ichd.domain.study import StudyState
from ichd.intake.ask.archive import archive_of
from ichd.intake.ask.objects import FoundObject, fetch_object, find_objects
from ichd.publish.send import send_folder
from ichd.report.sr import RUNGS
from ichd.store.listing import StudySummary
from ichd.store.outbox import Outbox

_POLL_S = 0.5
#: Modality of what is asked for beside the report (PS3.3 C.7.3.1.1.1).
_MODALITIES = {ObjectKind.KO: "KO", ObjectKind.SC: "OT"}
_ENDED_OTHERWISE = (StudyState.NOT_ANALYSED, StudyState.FAILED)


@dataclass(kw_only=True)
class Trip:
    """What became of one phantom; what did not happen is None."""

    study: PhantomStudy
    began_at: datetime
    #: Images that the receiver acknowledged.
    acknowledged: int = 0
    #: What it took to send them.
    sent_s: float | None = None
    #: From the last acknowledgment: the study is complete, its report acknowledged, and listed by the archive.
    complete_s: float | None = None
    reported_s: float | None = None
    archived_s: float | None = None
    state: StudyState | None = None
    receipt: Receipt | None = None
    #: The report as the archive lists it, and as it hands it back.
    listed: FoundObject | None = None
    report: Dataset | None = None
    #: False where the archive hands nothing over, and the report is the copy that was sent.
    handed_back: bool = False
    #: Of what goes with the report, by its kind: how many objects the archive lists.
    beside: dict[ObjectKind, int] = field(default_factory=dict)
    #: The summary page.
    page: Dataset | None = None
    #: Why it went no further, and why nothing was handed back; in words.
    trouble: str = ""
    not_handed_back: str = ""


class Traveller:
    """Takes phantoms along one route, one at a time."""

    def __init__(
        self, route: LiveRoute, storage: Storage, *, timeout_s: float, stopped: Callable[[], bool] = lambda: False
    ) -> None:
        """`timeout_s` is how long the report of one study may take to be listed, from its last image on."""
        self._route = route
        self._storage = storage
        self._outbox = Outbox(storage.engine, storage.spool)
        self._clock = clock_of(storage.engine)
        self._timeout_s = timeout_s
        self._stopped = stopped

    def take(self, study: PhantomStudy) -> Trip:
        """Send it, and wait for its report; whatever goes wrong is in the trip.

        Raises:
            Transient: our own database does not answer.
        """
        trip = Trip(study=study, began_at=self._clock())
        if not self._send(trip):
            return trip
        sent_at, deadline = self._clock(), time.monotonic() + self._timeout_s
        self._await_receipt(trip, sent_at, deadline)
        if trip.receipt is None:
            return trip
        try:
            self._await_listing(trip, sent_at, deadline)
            if trip.listed is not None:
                self._look_beside(trip)
                self._fetch(trip)
        except CodedError as error:
            trip.trouble = f"the archive can't be asked: {error}"
        return trip

    def _send(self, trip: Trip) -> bool:
        began = time.monotonic()
        try:
            summary = send_folder(self._route.entry, [trip.study.folder], progress=lambda *_: None)
        except (CodedError, UserError) as error:
            trip.trouble = f"not sent: {error}"
            return False
        trip.sent_s, trip.acknowledged = time.monotonic() - began, summary.sent
        if summary.refused:
            trip.trouble = f"{len(summary.refused)} images were refused: {summary.refused[0].status}"
        return not summary.refused

    def _await_receipt(self, trip: Trip, sent_at: datetime, deadline: float) -> None:
        while True:
            summary = self._summary(trip.study.study_uid)
            if summary is not None:
                trip.state = summary.state
                if summary.ready_at is not None:
                    trip.complete_s = _between(sent_at, summary.ready_at)
                trip.receipt = next(
                    (d.receipt for d in summary.deliveries if d.receipt.destination == self._route.destination), None
                )
                if trip.receipt is not None:
                    trip.reported_s = _between(sent_at, trip.receipt.sent_at)
                    return
                if summary.state in _ENDED_OTHERWISE:
                    trip.trouble = f"the study ended {summary.state}: {summary.reason} ({summary.detail})"
                    return
            if self._is_over(deadline):
                trip.trouble = self._what_is_missing(summary)
                return
            time.sleep(_POLL_S)

    def _await_listing(self, trip: Trip, sent_at: datetime, deadline: float) -> None:
        receipt = trip.receipt
        with archive_of(self._route.archive) as archive:
            while True:
                found = find_objects(archive, trip.study.study_uid, modality="SR")
                ours = next(
                    (each for each in found if receipt and each.sop_instance_uid in receipt.sop_instance_uids), None
                )
                if ours is not None:
                    trip.listed, trip.archived_s = ours, _between(sent_at, self._clock())
                    return
                if self._is_over(deadline):
                    others = f"; {len(found)} others of the study are listed" if found else ""
                    trip.trouble = (
                        f"the archive acknowledged the report and does not list it{others}: it was taken for another "
                        "study or patient, waits to be filed, or is gone"
                    )
                    return
                time.sleep(_POLL_S)

    def _look_beside(self, trip: Trip) -> None:
        with archive_of(self._route.archive) as archive:
            for kind, modality in _MODALITIES.items():
                if kind not in self._route.wanted:
                    continue
                sent = set(trip.receipt.sop_instance_uids) if trip.receipt else set()
                found = [
                    each
                    for each in find_objects(archive, trip.study.study_uid, modality=modality)
                    if each.sop_instance_uid in sent
                ]
                trip.beside[kind] = len(found)
                if kind is ObjectKind.SC and found:
                    trip.page = self._page(found[0])

    def _fetch(self, trip: Trip) -> None:
        if trip.listed is None:
            return
        classes = [trip.listed.sop_class_uid] if trip.listed.sop_class_uid else [SOP_CLASSES[rung] for rung in RUNGS]
        try:
            trip.report = fetch_object(self._route.archive, trip.listed, sop_classes=classes)
            trip.handed_back = True
        except CodedError as error:
            trip.not_handed_back = str(error)
            trip.report = self._as_sent(trip.listed.sop_instance_uid)

    def _page(self, found: FoundObject) -> Dataset | None:
        try:
            return fetch_object(self._route.archive, found, sop_classes=[SOP_CLASSES[ObjectKind.SC]])
        except CodedError:
            return self._as_sent(found.sop_instance_uid)

    def _as_sent(self, sop_instance_uid: str) -> Dataset | None:
        kept = self._outbox.find(sop_instance_uid)
        return None if kept is None else pydicom.dcmread(kept.path)

    def _summary(self, study_uid: str) -> StudySummary | None:
        try:
            return self._storage.studies.detail(study_uid).summary
        except UserError:
            return None

    def _is_over(self, deadline: float) -> bool:
        return time.monotonic() > deadline or self._stopped()

    def _what_is_missing(self, summary: StudySummary | None) -> str:
        within = f"within {self._timeout_s:g} s"
        if summary is None:
            by = "" if self._route.is_ours else f"; does {self._route.entry.ae_title} route it here?"
            return f"the study did not arrive here {within}{by}"
        last = next((f": {job.reason.meaning}" for job in reversed(summary.jobs) if job.reason), "")
        if summary.ready_at is None:
            return f"the study was not complete {within}"
        if summary.scan is None:
            return f"the study was not read {within}; is a worker running?{last}"
        return f"{self._route.destination} did not acknowledge the report {within}{last}"


def _between(start: datetime, end: datetime) -> float:
    return max((end - start).total_seconds(), 0.0)
