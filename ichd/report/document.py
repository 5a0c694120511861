"""What every object of ours has in common: whose it is, who made it, when, and under which UIDs.

All of it follows from the arguments and nothing from the clock, so that building an object again gives the same bytes.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM

from ichd.domain.delivery import ObjectKind
from ichd.domain.errors import Permanent
from ichd.domain.finding import ModelIdentity, Prediction
from ichd.domain.reason import Reason
from ichd.domain.study import SkippedSeries
from ichd.report.equipment import equip
from ichd.report.identity import Edition
from ichd.report.source import PATIENT_AND_STUDY, empty_patient_and_study, legible, local_time

NOT_A_DIAGNOSIS = "AI result, not a diagnosis."


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """What the objects say beside the finding."""

    revision: int
    #: Aware; becomes Content Date and Time, so that building again gives the same bytes.
    created_at: datetime
    software_version: str
    #: What these objects replace.
    predecessor: Edition | None = None
    skipped: Sequence[SkippedSeries] = ()

    def edition(self, prediction: Prediction) -> Edition:
        """What the UIDs of this revision's objects follow from."""
        return Edition(
            study_instance_uid=prediction.study_instance_uid,
            revision=self.revision,
            bundle_sha256=prediction.model.bundle_sha256,
        )


@dataclass(frozen=True, kw_only=True)
class _Series:
    #: High, so that our series sort behind the images.
    number: int
    modality: str
    description: str


_SERIES: Mapping[ObjectKind, _Series] = {
    ObjectKind.SR: _Series(number=9901, modality="SR", description="ICH AI result"),
    ObjectKind.SR_COMPREHENSIVE: _Series(number=9901, modality="SR", description="ICH AI result"),
    ObjectKind.SR_ENHANCED: _Series(number=9901, modality="SR", description="ICH AI result"),
    ObjectKind.KO: _Series(number=9902, modality="KO", description="ICH AI key slices"),
    ObjectKind.SC: _Series(number=9903, modality="OT", description="ICH AI summary"),
    ObjectKind.HEAT: _Series(number=9904, modality="OT", description="ICH AI heat maps"),
    ObjectKind.PARAMETRIC: _Series(number=9905, modality="OT", description="ICH AI heat maps"),
    ObjectKind.GSPS: _Series(number=9906, modality="PR", description="ICH AI presentation"),
}


def put_in_study(
    dataset: Dataset,
    *,
    kind: ObjectKind,
    edition: Edition,
    context: ReportContext,
    source: Dataset,
    model: ModelIdentity | None,
    number: int = 1,
    scanner: Dataset | None = None,
) -> None:
    """Patient, study, a series of ours, equipment, UIDs and times; whatever was there of these is replaced.

    `source` is `legible`; `number` tells the objects of one kind apart, counted from 1; `model` is None where none
    read the study; `scanner` is the header of an image that this one is derived from.
    """
    inherit(dataset, source)
    dataset.StudyInstanceUID = edition.study_instance_uid
    demonstration = model is not None and model.demonstration
    series = _SERIES[kind]
    dataset.Modality = series.modality
    dataset.SeriesInstanceUID = edition.series_uid(kind)
    dataset.SeriesNumber = series.number
    dataset.SeriesDescription = f"{series.description} (demonstration)" if demonstration else series.description
    dataset.SOPInstanceUID = edition.uid(kind, number)
    dataset.InstanceNumber = number
    if not hasattr(dataset, "file_meta"):
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    _stamp(dataset, kind, local_time(context.created_at, source))
    equip(dataset, context.software_version, model, None if scanner is None else legible(scanner))


def _stamp(dataset: Dataset, kind: ObjectKind, created_at: datetime) -> None:
    date, time = DA(created_at.date()), TM(created_at.time())
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date, time
    dataset.SeriesDate, dataset.SeriesTime = date, time
    if kind is not ObjectKind.GSPS:  # which has a Presentation Creation Date instead (PS3.3 C.11.10)
        dataset.ContentDate, dataset.ContentTime = date, time


# pydicom quotes malformed values in the warnings that it logs, and these are a patient's.
@disable_value_validation()
def inherit(dataset: Dataset, source: Dataset) -> None:
    """Patient and study modules, character set and time zone as the (legible) source has them."""
    inherited = empty_patient_and_study()
    for keyword in (*PATIENT_AND_STUDY, "SpecificCharacterSet", "TimezoneOffsetFromUTC"):
        if keyword in source:
            inherited.add(source[keyword])
    if inherited.get("PatientIdentityRemoved") == "YES" and not inherited.get("DeidentificationMethodCodeSequence"):
        # The claim needs its method (PS3.3 C.7.1.1, type 1C), and de-identified images often leave it empty.
        inherited.DeidentificationMethod = inherited.get("DeidentificationMethod") or "not stated by the source images"
    dataset.update(_writable(inherited))


def _writable(inherited: Dataset) -> Dataset:
    """What of it can be encoded, type 2 attributes empty where they can't: no odd header may stop a report."""
    try:
        require_writable(inherited)
    except Permanent:
        kept = empty_patient_and_study()
        for element in inherited:
            alone = Dataset()
            alone.add(element)
            with suppress(Permanent):
                require_writable(alone)
                kept.add(element)
        return kept
    return inherited


def require_writable(dataset: Dataset) -> None:
    """Fail here, with a reason, rather than in the middle of a delivery.

    Raises:
        Permanent: REPORT_INVALID, a value can't be encoded.
    """
    _written(dataset, is_file=False)


def encode(dataset: Dataset) -> bytes:
    """The object as a file (PS3.10) in the transfer syntax that it names; equal for equal objects.

    Raises:
        Permanent: REPORT_INVALID, a value can't be encoded.
    """
    return _written(dataset, is_file=True)


def _written(dataset: Dataset, *, is_file: bool) -> bytes:
    buffer = BytesIO()
    try:
        if is_file:
            dataset.save_as(buffer, enforce_file_format=True)
        else:
            dataset.save_as(buffer, implicit_vr=False, little_endian=True)
    except (ValueError, TypeError, ArithmeticError, AttributeError, LookupError) as error:
        # The error's own words may quote the value that can't be encoded, and it may be a name: the kind must do.
        raise Permanent(Reason.REPORT_INVALID, f"it can't be encoded: {type(error).__name__}") from error
    return buffer.getvalue()
