"""What is to be said of a study, as objects and messages: made at first need, kept in the outbox, the same for ever."""

import threading

import structlog

from ichd.domain.delivery import ObjectKind, Outgoing
from ichd.pipeline.clock import Clock
from ichd.pipeline.desk import Desk
from ichd.pipeline.heat import Explains
from ichd.pipeline.makers import MAKERS
from ichd.report.hl7_letter import Addressee
from ichd.store.deliveries import DeliveryWork
from ichd.store.heatmaps import HeatMaps
from ichd.store.outbox import Known, Outbox

log = structlog.get_logger(__name__)


class Renderer:
    """Makes what couriers send. Safe for any number of threads, which take turns."""

    def __init__(self, *, outbox: Outbox, heat_maps: HeatMaps, explainer: Explains | None, clock: Clock) -> None:
        """Without an `explainer` pictures show heat only where some other worker has made it."""
        self._outbox = outbox
        self._heat_maps = heat_maps
        self._explainer = explainer
        self._clock = clock
        self._turn = threading.Lock()

    def begin(self, work: DeliveryWork, addressee: Addressee) -> "Rendering":
        """Objects about one revision, for one destination."""
        return Rendering(self._outbox, Desk(work, addressee, self._heat_maps, self._explainer), self._turn, self._clock)


class Rendering:
    """Gives each kind of one revision as it lies in the outbox."""

    def __init__(self, outbox: Outbox, desk: Desk, turn: threading.Lock, clock: Clock) -> None:
        self._outbox = outbox
        self._desk = desk
        self._turn = turn
        self._clock = clock
        #: What was there when the first kind was asked for.
        self._known: Known | None = None

    def get(self, kind: ObjectKind) -> tuple[Outgoing, ...]:
        """The objects of a kind; none where there is nothing to say.

        Raises:
            Permanent: REPORT_INVALID, FILE_DAMAGED or the like: it can't be made of these images.
            Transient: the database or the disk fails.
        """
        work, destination = self._desk.work, self._desk.addressee.destination
        if self._known is None:
            self._known = self._outbox.known(work.study_id, work.revision, destination=destination)
        if kind in self._known:
            if (objects := self._outbox.intact(self._known[kind])) is not None:
                return objects
            log.warning("outbox_file_gone_or_damaged", study=work.study_uid, revision=work.revision, kind=kind)
        # Two destinations that want the same study would draw its pages twice.
        with self._turn:
            kept = self._outbox.kept(work.study_id, work.revision, (kind,), destination=destination)
            if kind not in kept:
                made = {kind: MAKERS[kind](self._desk)}
                kept = self._outbox.keep(work.study_id, work.revision, made, destination=destination, now=self._clock())
        return kept[kind]
