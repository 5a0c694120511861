"""A database that has served for years: finished studies of 300 images each, rows only, no files.

As a script: `python -m tests.benchmarks.million DATABASE_URL [INSTANCES]`.
"""

import random
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, func, insert, select

from ichd.domain.study import CT_IMAGE_STORAGE, InstanceFacts, StudyState
from ichd.store.engine import migrate, open_database
from ichd.store.facts import facts_to_json
from ichd.store.tables import ArrivalRow, AssociationRow, InstanceRow, SeriesRow, StudyRow

IMAGES_A_STUDY = 300
_STUDIES_A_TRANSACTION = 100
_SIZE = 527_000
_FIRST_DAY = datetime(2020, 1, 1, 8, tzinfo=UTC)
_BETWEEN_STUDIES = timedelta(minutes=20)


def fill(engine: Engine, instances: int) -> None:
    """Add rows of finished studies until `instances` images more are there; the same rows for the same start."""
    with engine.connect() as connection:
        # Names and keys go on where an earlier call stopped.
        first = (connection.scalar(select(func.max(StudyRow.id))) or 0) + 1
    studies = range(first, first + -(-instances // IMAGES_A_STUDY))
    left = instances
    for begin in range(0, len(studies), _STUDIES_A_TRANSACTION):
        with engine.begin() as connection:
            for number in studies[begin : begin + _STUDIES_A_TRANSACTION]:
                _add_study(connection, number, min(left, IMAGES_A_STUDY))
                left -= IMAGES_A_STUDY


def _add_study(connection: Connection, number: int, images: int) -> None:
    at = _FIRST_DAY + number * _BETWEEN_STUDIES
    uid = f"1.2.840.113619.2.55.3.{number * 7919 % 10**9}.{number}"
    association_id = connection.scalar(
        insert(AssociationRow).returning(AssociationRow.id),
        {
            "calling_ae_title": f"CT{number % 7}",
            "address": "192.0.2.1",
            "opened_at": at,
            "ended_at": at + timedelta(minutes=1),
            "released": True,
            "listener": "filled/0.0.0.0:11112",
        },
    )
    study_id = connection.scalar(
        insert(StudyRow).returning(StudyRow.id),
        {
            "study_instance_uid": uid,
            "accession_number": f"A{number:08}",
            "study_datetime": f"{at:%Y%m%d%H%M%S}",
            "state": StudyState.REPORTED,
            "received_at": at,
            "last_instance_at": at + timedelta(minutes=1),
            "finished_at": at + timedelta(minutes=3),
        },
    )
    series_id = connection.scalar(
        insert(SeriesRow).returning(SeriesRow.id), {"study_id": study_id, "series_instance_uid": f"{uid}.2"}
    )
    connection.execute(insert(ArrivalRow), {"study_id": study_id, "association_id": association_id})
    keys = {"series_id": series_id, "association_id": association_id, "revision": 1, "size": _SIZE}
    connection.execute(insert(InstanceRow), [keys | row for row in _images(uid, number, images, at)])


def _images(study_uid: str, number: int, images: int, at: datetime) -> Iterator[dict[str, Any]]:
    names = random.Random(number)
    for slice_number in range(1, images + 1):
        facts = InstanceFacts(
            study_instance_uid=study_uid,
            series_instance_uid=f"{study_uid}.2",
            sop_instance_uid=f"{study_uid}.2.{slice_number}",
            sop_class_uid=CT_IMAGE_STORAGE,
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            modality="CT",
            image_type=("ORIGINAL", "PRIMARY", "AXIAL"),
            rows=512,
            columns=512,
            image_position=(-125.0, -125.0, 0.625 * slice_number),
            image_orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            pixel_spacing=(0.488281, 0.488281),
            slice_thickness_mm=0.625,
            frame_of_reference_uid=f"{study_uid}.4",
            series_number=2,
            series_description="HEAD 0.625mm",
            instance_number=slice_number,
            body_part_examined="HEAD",
            convolution_kernel="STANDARD",
            accession_number=f"A{number:08}",
            study_datetime=f"{at:%Y%m%d%H%M%S}",
        )
        name = f"{names.getrandbits(128):032x}"
        yield {
            "sop_instance_uid": facts.sop_instance_uid,
            "sop_class_uid": facts.sop_class_uid,
            "facts": facts_to_json(facts),
            "sha256": f"{names.getrandbits(256):064x}",
            "path": f"{name[:2]}/{name}.dcm",
            "received_at": at,
        }


def main() -> None:
    url, instances = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    migrate(url)
    engine = open_database(url)
    started = time.monotonic()
    fill(engine, instances)
    print(f"{instances} instances in {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
