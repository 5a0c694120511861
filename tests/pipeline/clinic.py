"""A store whose studies are copies of one: read as the benchmark says, rendered as a worker renders."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from ichd.domain.delivery import ObjectKind, Outgoing, Rendered
from ichd.domain.finding import Finding, ModelIdentity, Prediction, ReadingRule, SlicePrediction, conclude
from ichd.domain.heatmap import HOTTEST, HeatMap, maps_wanted
from ichd.domain.job import JobKind
from ichd.domain.record import record_of
from ichd.domain.study import InstanceFacts
from ichd.intake.header import read_facts
from ichd.store.arrivals import Arrivals
from ichd.store.deliveries import Deliveries
from ichd.store.engine import migrate, open_database
from ichd.store.heatmaps import HeatMaps
from ichd.store.outbox import Outbox
from ichd.store.queue import Queue
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from tests.store.house import POLICY, House

#: Cells of a heat map of a network that sees 512 pixels.
_CELLS = 32
_MODEL = ModelIdentity(
    name="published-model",
    version="1.0",
    weights_sha256="0123456789abcdef" * 4,
    bundle_sha256="fedcba9876543210" * 4,
    statement="research use only",
)


class Clinic(House):
    """A house with one study of real files, and as many of rows as are wanted."""

    def __init__(self, folder: Path, files: Sequence[Path], *, url: str | None = None) -> None:
        """In a database without rows; a new one of SQLite where none is named."""
        url = url or f"sqlite:///{folder / 'ichd.db'}"
        migrate(url)
        engine, spool = open_database(url), Spool(folder / "spool")
        super().__init__(
            engine=engine,
            spool=spool,
            arrivals=Arrivals(engine),
            queue=Queue(engine),
            studies=Studies(engine, spool),
            deliveries=Deliveries(engine, spool),
            now=_a_quiet_period_ago(),
        )
        self.outbox = Outbox(engine, spool)
        self.heat_maps = HeatMaps(engine, spool)
        self._facts = [read_facts(path) for path in files]
        association_id = self.open_association()
        for path, each in zip(files, self._facts, strict=True):
            self.arrive(each, association_id=association_id, content=path.read_bytes())
        self.end_association(association_id)
        (self.study_uid,) = self.close()

    def read(self, *destinations: str) -> int:
        """The study is read, as a new revision where it was before, and owed to some; its number."""
        self.now = datetime.now(UTC)
        if self.summary(self.study_uid).finding_revision is not None:
            self.studies.reprocess(self.study_uid, now=self.now)
        return self._conclude(self._facts, destinations)

    def copy(self, number: int, rendered: Sequence[Outgoing], *destinations: str) -> None:
        """A study of one image, read and rendered: the objects of another one under names of its own."""
        names = {uid: _renamed(uid, number) for uid in (self.study_uid, *(o.sop_instance_uid for o in rendered))}
        first = self._facts[0]
        facts = replace(
            first,
            study_instance_uid=names[self.study_uid],
            series_instance_uid=_renamed(first.series_instance_uid, number),
            sop_instance_uid=_renamed(first.sop_instance_uid, number),
        )
        self.now = _a_quiet_period_ago()
        association_id = self.open_association()
        self.arrive(facts, association_id=association_id)
        self.end_association(association_id)
        self.close()
        objects: dict[ObjectKind, list[Rendered]] = {}
        for each in rendered:
            content = each.path.read_bytes()
            for old, new in names.items():
                # As long as the old one: nothing else in the file moves.
                content = content.replace(old.encode(), new.encode())
            objects.setdefault(each.kind, []).append(
                Rendered(
                    sop_class_uid=each.sop_class_uid, sop_instance_uid=names[each.sop_instance_uid], content=content
                )
            )
        self._conclude([facts], destinations, rendered=objects)

    def _conclude(
        self,
        facts: Sequence[InstanceFacts],
        destinations: Sequence[str],
        *,
        rendered: Mapping[ObjectKind, Sequence[Rendered]] | None = None,
    ) -> int:
        """Read a study: what it says is rendered already, or there are heat maps for who renders it."""
        finding = conclude(_prediction(facts), ReadingRule())
        record = record_of(finding, rule=ReadingRule(), state="analysing", skipped=(), software_version="1.0")
        job = self.claim(kinds=(JobKind.ANALYSE,))
        self.studies.begin_analysis(job, now=self.now)
        if rendered is None:
            self.heat_maps.keep_of(job.study_id, job.revision, job.study_uid, _heat(finding))
        else:
            self.outbox.keep(job.study_id, job.revision, rendered, destination="", now=self.now)
        self.studies.finish_analysis(job, record=record, destinations=destinations, now=self.now)
        return job.study_id


def _a_quiet_period_ago() -> datetime:
    """A study that arrives then is complete now."""
    return datetime.now(UTC) - timedelta(seconds=POLICY.quiet_period_s)


def _renamed(uid: str, number: int) -> str:
    """Another UID of the same length."""
    return f"{uid[:-7]}{number:07d}"


def _prediction(facts: Sequence[InstanceFacts]) -> Prediction:
    """Two kinds are present and one in doubt, in the middle of the head."""
    slices = []
    for number, each in enumerate(facts):
        near = float(np.exp(-(((number - len(facts) // 2) / 5) ** 2)))
        slices.append(
            SlicePrediction(
                sop_instance_uid=each.sop_instance_uid,
                sop_class_uid=each.sop_class_uid,
                z_mm=4.0 * number,
                probabilities=(0.98 * near, 0.03 * near, 0.04 * near, 0.51 * near, 0.96 * near, 0.01 * near),
            )
        )
    return Prediction(
        study_instance_uid=facts[0].study_instance_uid,
        series_instance_uid=facts[0].series_instance_uid,
        model=_MODEL,
        slices=tuple(slices),
    )


def _heat(finding: Finding) -> list[HeatMap]:
    """Round spots, on the grid of a network that sees the whole image."""
    rows, columns = np.mgrid[:_CELLS, :_CELLS]
    cells = (HOTTEST * np.exp(-((rows - 12) ** 2 + (columns - 22) ** 2) / 12)).astype(np.uint8)
    return [
        HeatMap(
            sop_instance_uid=wanted.slice.sop_instance_uid,
            frame_number=None,
            class_name=name,
            cells=tuple(row.tobytes() for row in cells),
            first_cell=(7.5, 7.5),
            cell_pitch=(16.0, 16.0),
            cell_mm=(7.0, 7.0),
            probability_alone=0.4,
        )
        for wanted in maps_wanted(finding)
        for name in wanted.class_names
    ]
