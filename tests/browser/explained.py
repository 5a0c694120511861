"""What a site of `tests.browser.site` may hold beside: heat maps and a report of its phantom, a study of two series."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import select
from sqlalchemy.orm import Session

from ichd.domain.delivery import ObjectKind, Rendered
from ichd.domain.finding import Finding
from ichd.domain.heatmap import HeatMap, maps_wanted
from ichd.domain.record import finding_of
from ichd.intake.header import parse_header
from ichd.intake.part10 import split_file
from ichd.phantom import PhantomRecipe, render, write_series
from ichd.report.document import ReportContext, encode
from ichd.report.sr import build_report
from ichd.store.catalogue import Catalogue
from ichd.store.criteria import Criteria
from ichd.store.heatmaps import HeatMaps
from ichd.store.outbox import Outbox
from ichd.store.tables import FindingRow, StudyRow
from tests.web.worklist_of_all_states import Hospital

_CELLS, _PIXELS = 16, 512
_HOT = (5, 11)


def explain(folder: Path, study_uid: str, now: datetime) -> None:
    """Heat maps of a study that was read, hot in one place, and its Structured Report in the outbox."""
    hospital = Hospital(folder=folder, now=now)
    with Session(hospital.engine) as session:
        row = session.execute(
            select(FindingRow.record, FindingRow.study_id).join(StudyRow).filter_by(study_instance_uid=study_uid)
        ).one()
    finding = finding_of(row.record)
    maps = HeatMaps(hospital.engine, hospital.spool)
    maps.keep_of(row.study_id, 1, study_uid, list(_maps(finding)))
    images = Catalogue(hospital.engine, hospital.spool).instances(Criteria(study_uids=(study_uid,)), limit=1)
    header = dcmread(images[0].path, stop_before_pixels=True)
    report = build_report(finding, [header], ReportContext(revision=1, created_at=now, software_version="0.1.0"))
    rendered = Rendered(
        sop_class_uid=report.SOPClassUID, sop_instance_uid=report.SOPInstanceUID, content=encode(report)
    )
    outbox = Outbox(hospital.engine, hospital.spool)
    outbox.keep(row.study_id, 1, {ObjectKind.SR: [rendered]}, destination="pacs", now=now)
    hospital.engine.dispose()


def _maps(finding: Finding) -> Iterator[HeatMap]:
    down, along = np.mgrid[:_CELLS, :_CELLS]
    heat = 255 * np.exp(-((down - _HOT[0]) ** 2 + (along - _HOT[1]) ** 2) / 4)
    cells = tuple(row.tobytes() for row in heat.astype(np.uint8))
    pitch = _PIXELS / _CELLS
    for wanted in maps_wanted(finding):
        for name in wanted.class_names:
            yield HeatMap(
                sop_instance_uid=wanted.slice.sop_instance_uid,
                frame_number=wanted.slice.frame_number,
                class_name=name,
                cells=cells,
                first_cell=(pitch / 2 - 0.5, pitch / 2 - 0.5),
                cell_pitch=(pitch, pitch),
                cell_mm=(pitch * 0.45, pitch * 0.45),
                probability_alone=0.7,
            )


def receive_two_series(folder: Path, now: datetime) -> str:
    """Two heads as two series of one study, of six and of four slices, and nobody has read them yet."""
    hospital = Hospital(folder=folder, now=now)
    association = hospital.arrivals.open_association(calling_ae_title="CT2", address="127.0.0.1", now=now)
    study_uid = generate_uid(entropy_srcs=["two series"])
    for seed, slices in ((21, 6), (22, 4)):
        phantom = render(PhantomRecipe(seed=seed, slices=slices, rows=256, voxel_mm=3.0))
        for path in write_series(phantom, folder / f"phantom-{seed}"):
            dataset = dcmread(path)
            dataset.StudyInstanceUID, dataset.SeriesNumber = study_uid, seed
            dataset.SeriesDescription = f"Head <b>{seed}</b>"
            content = BytesIO()
            dataset.save_as(content)
            syntax, encoded = split_file(content.getvalue())
            stored = hospital.spool.write([content.getvalue()])
            facts = parse_header(encoded, syntax)
            hospital.arrivals.record(facts, stored, association_id=association, now=now + timedelta(seconds=1))
    hospital.engine.dispose()
    return study_uid
