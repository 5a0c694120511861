"""Series as selection sees them: a plain head CT, and what may differ from it."""

import math
from dataclasses import replace

from ichd.domain.geometry import Orientation
from ichd.domain.study import CT_IMAGE_STORAGE, InstanceFacts, SeriesFacts, StudyFacts

AXIAL: Orientation = (1, 0, 0, 0, 1, 0)
CORONAL: Orientation = (1, 0, 0, 0, 0, -1)
SAGITTAL: Orientation = (0, 1, 0, 0, 0, -1)

ORIGINAL = ("ORIGINAL", "PRIMARY", "AXIAL")
REFORMAT = ("DERIVED", "SECONDARY", "REFORMATTED", "AVERAGE")
MPR = ("DERIVED", "SECONDARY", "AXIAL", "CT_SOM5 MPR")
IOHEXOL = "OMNIPAQUE 350"


def tilted(degrees: float) -> Orientation:
    return (1, 0, 0, 0, math.cos(math.radians(degrees)), -math.sin(math.radians(degrees)))


def scan(
    slices: int = 28, *, spacing_mm: float = 5.0, start_mm: float = 0.0, uid: str = "1.2.1", **attributes: object
) -> SeriesFacts:
    """A plain axial head CT, with attributes of every image changed."""
    first = InstanceFacts(
        study_instance_uid="1.2",
        series_instance_uid=uid,
        sop_instance_uid=f"{uid}.0",
        sop_class_uid=CT_IMAGE_STORAGE,
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        modality="CT",
        image_type=ORIGINAL,
        rows=512,
        columns=512,
        image_orientation=AXIAL,
        pixel_spacing=(0.49, 0.49),
        frame_of_reference_uid="1.2.9",
    )
    instances = (
        replace(
            first,
            sop_instance_uid=f"{uid}.{n}",
            instance_number=n + 1,
            image_position=(-125.0, -125.0, start_mm + spacing_mm * n),
        )
        for n in range(slices)
    )
    return SeriesFacts(
        series_instance_uid=uid,
        instances=tuple(replace(i, **attributes) for i in instances),  # type: ignore[arg-type]
    )


def thin(slices: int = 280, *, uid: str = "1.2.1", **attributes: object) -> SeriesFacts:
    """A helical stack of half a millimetre."""
    return scan(slices, spacing_mm=0.5, uid=uid, **{"slice_thickness_mm": 0.6, **attributes})  # type: ignore[arg-type]


def with_one(series: SeriesFacts, **attributes: object) -> SeriesFacts:
    """The last image differs."""
    *others, last = series.instances
    return replace(series, instances=(*others, replace(last, **attributes)))  # type: ignore[arg-type]


def together(*series: SeriesFacts, uid: str = "1.2.1") -> SeriesFacts:
    """The images of several series in one, each with a SOP Instance UID and an instance number of its own."""
    images = [image for part in series for image in part.instances]
    return SeriesFacts(
        series_instance_uid=uid,
        instances=tuple(
            replace(i, series_instance_uid=uid, sop_instance_uid=f"{uid}.{n}", instance_number=n + 1)
            for n, i in enumerate(images)
        ),
    )


def study(*series: SeriesFacts) -> StudyFacts:
    return StudyFacts(study_instance_uid="1.2", series=series)
