"""Studies as facts from headers, and the states that a study passes through."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ichd.domain.errors import IllegalTransition
from ichd.domain.geometry import Orientation, Vector
from ichd.domain.reason import Reason

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2.2"
#: Their frames are slices; the second is what an archive made of single slices.
MULTI_FRAME_CT = (ENHANCED_CT_IMAGE_STORAGE, LEGACY_CONVERTED_ENHANCED_CT_IMAGE_STORAGE)


class StudyState(StrEnum):
    """Where a study stands; every study ends in one of the last three."""

    RECEIVING = "receiving"
    READY = "ready"
    ANALYSING = "analysing"
    REPORTED = "reported"
    NOT_ANALYSED = "not_analysed"
    FAILED = "failed"


#: Studies that have ended; a person may have them read again.
FINISHED = frozenset({StudyState.REPORTED, StudyState.NOT_ANALYSED, StudyState.FAILED})


#: A late slice reopens a study from any state, as a new revision. A study stays `analysing` until every destination has
#: its report. A ready one fails where worker after worker dies before it begins. `ichd retry` sends a failed one back
#: to where it failed; `ichd reprocess` reads a finished one again.
STUDY_TRANSITIONS: Mapping[StudyState, frozenset[StudyState]] = {
    StudyState.RECEIVING: frozenset({StudyState.READY}),
    StudyState.READY: frozenset({StudyState.ANALYSING, StudyState.FAILED, StudyState.RECEIVING}),
    StudyState.ANALYSING: frozenset(
        {StudyState.REPORTED, StudyState.NOT_ANALYSED, StudyState.FAILED, StudyState.RECEIVING}
    ),
    StudyState.REPORTED: frozenset({StudyState.RECEIVING, StudyState.READY}),
    StudyState.NOT_ANALYSED: frozenset({StudyState.RECEIVING, StudyState.READY}),
    StudyState.FAILED: frozenset({StudyState.RECEIVING, StudyState.READY, StudyState.ANALYSING}),
}


def move_study(current: StudyState, target: StudyState) -> StudyState:
    """`target`, if the table connects the two states.

    Raises:
        IllegalTransition: it does not.
    """
    if target not in STUDY_TRANSITIONS[current]:
        raise IllegalTransition(f"a study can't go from {current} to {target}")
    return target


@dataclass(frozen=True, kw_only=True)
class InstanceFacts:
    """What the header of one stored image says; nothing here identifies the patient.

    Attributes that an image lacks, or that can't be parsed, are None: selection decides what that means.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    modality: str = ""
    #: ImageType values, upper case.
    image_type: tuple[str, ...] = ()
    rows: int | None = None
    columns: int | None = None
    number_of_frames: int = 1
    #: One-based; None for the image as a whole. A multi-frame image has these facts once for each of its frames.
    frame_number: int | None = None
    #: mm, centre of the first pixel (PS3.3 C.7.6.2).
    image_position: Vector | None = None
    image_orientation: Orientation | None = None
    #: mm between rows, mm between columns.
    pixel_spacing: tuple[float, float] | None = None
    slice_thickness_mm: float | None = None
    frame_of_reference_uid: str | None = None
    series_number: int | None = None
    series_description: str = ""
    instance_number: int | None = None
    acquisition_number: int | None = None
    body_part_examined: str = ""
    convolution_kernel: str = ""
    contrast_agent: str = ""
    #: Patient Position (0018,5100): HFS, FFS, HFP, ...
    patient_position: str = ""
    #: Volume Based Calculation Technique (0008,9207): MAX_IP, MPR, ...
    volume_calculation: str = ""
    #: Quality Control Image (0028,0300) says YES: an object of quality control, no patient.
    quality_control_image: bool = False
    #: When the data were acquired, as it stands in the header: digits whose order is that of time.
    acquisition_datetime: str = ""
    accession_number: str = ""
    #: StudyDate + StudyTime as they stand, for lists only.
    study_datetime: str = ""
    #: How many objects of any class the study, and the series, have by this header; most have neither number.
    study_related_instances: int | None = None
    series_related_instances: int | None = None


@dataclass(frozen=True, kw_only=True)
class SeriesFacts:
    """The images of one series, in no particular order."""

    series_instance_uid: str
    instances: tuple[InstanceFacts, ...]


@dataclass(frozen=True, kw_only=True)
class StudyFacts:
    """The series of one study as they are stored at this moment."""

    study_instance_uid: str
    series: tuple[SeriesFacts, ...]


@dataclass(frozen=True, kw_only=True)
class SkippedSeries:
    """A series that was not read, and why."""

    series_instance_uid: str
    reason: Reason
    #: The numbers behind the reason, for people.
    detail: str = ""
