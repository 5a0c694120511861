"""What `/api` answers, for the description of the API; `ichd.web.shape` makes it.

The models describe and do not filter: an answer is sent as it was made, and the tests hold it against them. Times are
ISO 8601 with their zone.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ichd.domain.completeness import Closing
from ichd.domain.delivery import ObjectKind, Proof
from ichd.domain.finding import Triage
from ichd.domain.job import JobKind, JobState
from ichd.domain.reason import Reason
from ichd.domain.review import Agreement, ReviewSource
from ichd.domain.study import StudyState

#: Values by class of haemorrhage.
ByClass = dict[str, float]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow")


class Problem(_Answer):
    """What is wrong, and the mend where there is one."""

    error: str = Field(description="One sentence.")
    reason: Reason | None = Field(default=None, description="Its code, where it has one.")


class _Explained(_Answer):
    reason: Reason | None = Field(description="Code of what did not take the usual way.")
    meaning: str | None = Field(description="The same in words.")
    detail: str = Field(description="What belongs to the reason: a count, a peer's words.")


class ReviewAnswer(_Answer):
    """What a reader says of a finding."""

    revision: int
    agreement: Agreement
    source: ReviewSource
    reviewer: str
    truth: dict[str, bool]
    received_at: datetime


class JobAnswer(_Explained):
    """Work on a study."""

    kind: JobKind
    revision: int
    destination: str | None
    state: JobState
    attempt: int
    superseded: bool
    run_at: datetime
    finished_at: datetime | None


class DeliveryAnswer(_Answer):
    """A report that a destination took."""

    revision: int
    destination: str
    sent_at: datetime
    status: str
    sop_class_uid: str
    sop_instance_uids: list[str]
    left_out: list[ObjectKind]
    proof: Proof
    proved_at: datetime | None


class RefusalAnswer(_Explained):
    """An image that was turned away at the door."""

    refused_at: datetime


class StudyLine(_Explained):
    """A line of the list."""

    study_uid: str = Field(description="StudyInstanceUID.")
    accession_number: str
    state: StudyState
    revision: int
    finding_revision: int | None = Field(description="Whose `triage` and `scan` these are.")
    series_count: int
    images: int
    images_dropped: int
    images_dropped_at: datetime | None
    conflict_count: int
    triage: Triage | None
    scan: ByClass | None = Field(description="Probabilities of the whole scan.")
    received_at: datetime
    last_instance_at: datetime | None
    ready_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    closing: Closing | None
    closing_detail: str
    reviews: list[ReviewAnswer]
    jobs: list[JobAnswer]
    deliveries: list[DeliveryAnswer]


class SliceAnswer(_Answer):
    """What was read of a slice."""

    sop_uid: str
    z_mm: float
    p: ByClass


class SeriesAnswer(_Explained):
    """A series, as it arrived."""

    series_uid: str
    modality: str
    series_number: int | None
    description: str
    images: int


class ConflictAnswer(_Answer):
    """A file that came under a UID that another one has."""

    sop_uid: str
    study_uid: str
    sha256: str
    received_at: datetime


class StudyAnswer(StudyLine):
    """A study: its line, what its present revision read, and where it all is."""

    series_uid: str | None
    classes: list[str]
    slices: list[SliceAnswer]
    model: dict[str, Any] | None
    presence: dict[str, str] | None
    skipped_series: list[dict[str, Any]]
    series_ranking: list[dict[str, Any]]
    notes: list[str]
    remarks: list[dict[str, Any]]
    timings_ms: dict[str, float]
    series: list[SeriesAnswer]
    conflicts: list[ConflictAnswer]
    refusals: list[RefusalAnswer]


class HeatMapAnswer(_Answer):
    """A heat map of a slice."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    sop_uid: str
    frame: int | None
    class_: str = Field(alias="class")
    slice: int = Field(description="Counted from 1 at the most inferior slice.")
    z_mm: float
    p: float
    p_alone: float = Field(description="What the model would say without the neighbours.")
    png: str = Field(description="Address of the picture.")


class PatientAnswer(_Answer):
    """Who is examined, as one of the stored images says; nothing of it is kept."""

    name: str = Field(description="PatientName, for people.")
    id: str = Field(description="PatientID.")
    birth_date: str = Field(description="PatientBirthDate, YYYYMMDD; empty where it is not said.")
    sex: str = Field(description="PatientSex: F, M, O or empty.")
