"""What a report takes over from the images that it is about: patient, study, character set, and the local clock.

Scanners write headers with empty, missing and malformed attributes, and a report must not fail on them: a PACS files
by exactly these attributes, so each is passed on as it stands where it can be read at all, and is left empty (type 2)
or out (type 3) where it can't.
"""

from collections.abc import Sequence
from copy import deepcopy
from datetime import datetime, timedelta, timezone

from pydicom import Dataset
from pydicom.config import disable_value_validation
from pydicom.errors import BytesLengthException

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason

#: Patient and General Study attributes that must be there, empty if unknown (PS3.3 C.7.1.1, C.7.2.1, type 2).
_TYPE_2 = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)

#: Attributes of the Patient, Clinical Trial Subject, General Study, Patient Study and Clinical Trial Study modules
#: (PS3.3 C.7.1.1, C.7.1.3, C.7.2.1, C.7.2.2, C.7.2.3): all objects of a study share them.
PATIENT_AND_STUDY = tuple(  # one keyword a line would bury the module
    """
    ReferencedPatientSequence PatientName PatientID IssuerOfPatientID TypeOfPatientID
    IssuerOfPatientIDQualifiersSequence SourcePatientGroupIdentificationSequence
    GroupOfPatientsIdentificationSequence PatientBirthDate PatientBirthTime PatientBirthDateInAlternativeCalendar
    PatientDeathDateInAlternativeCalendar PatientAlternativeCalendar PatientSex QualityControlSubject
    StrainDescription StrainNomenclature StrainStockSequence StrainAdditionalInformation StrainCodeSequence
    GeneticModificationsSequence OtherPatientNames OtherPatientIDsSequence ReferencedPatientPhotoSequence
    EthnicGroup EthnicGroupCodeSequence PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription
    PatientBreedCodeSequence BreedRegistrationSequence ResponsiblePerson ResponsiblePersonRole
    ResponsibleOrganization PatientComments PatientIdentityRemoved DeidentificationMethod
    DeidentificationMethodCodeSequence ClinicalTrialSponsorName ClinicalTrialProtocolID ClinicalTrialProtocolName
    IssuerOfClinicalTrialProtocolID OtherClinicalTrialProtocolIDsSequence ClinicalTrialSiteID ClinicalTrialSiteName
    IssuerOfClinicalTrialSiteID ClinicalTrialSubjectID IssuerOfClinicalTrialSubjectID ClinicalTrialSubjectReadingID
    IssuerOfClinicalTrialSubjectReadingID ClinicalTrialProtocolEthicsCommitteeName
    ClinicalTrialProtocolEthicsCommitteeApprovalNumber StudyInstanceUID StudyDate StudyTime AccessionNumber
    IssuerOfAccessionNumberSequence ReferringPhysicianName ReferringPhysicianIdentificationSequence
    ConsultingPhysicianName ConsultingPhysicianIdentificationSequence StudyDescription ProcedureCodeSequence
    PhysiciansOfRecord PhysiciansOfRecordIdentificationSequence NameOfPhysiciansReadingStudy
    PhysiciansReadingStudyIdentificationSequence ReferencedStudySequence StudyID RequestingService
    RequestingServiceCodeSequence ReasonForPerformedProcedureCodeSequence AdmittingDiagnosesDescription
    AdmittingDiagnosesCodeSequence PatientAge PatientSize PatientSizeCodeSequence PatientBodyMassIndex
    MeasuredAPDimension MeasuredLateralDimension PatientWeight MedicalAlerts Allergies Occupation SmokingStatus
    AdditionalPatientHistory PregnancyStatus LastMenstrualDate PatientSexNeutered ReasonForVisit
    ReasonForVisitCodeSequence AdmissionID IssuerOfAdmissionIDSequence ServiceEpisodeID ServiceEpisodeDescription
    IssuerOfServiceEpisodeIDSequence PatientState ClinicalTrialTimePointID ClinicalTrialTimePointDescription
    LongitudinalTemporalOffsetFromEvent LongitudinalTemporalEventType ClinicalTrialTimePointTypeCodeSequence
    IssuerOfClinicalTrialTimePointID ConsentForClinicalTrialUseSequence
    """.split()  # noqa: SIM905
)


def source_of(sources: Sequence[Dataset], study_instance_uid: str) -> Dataset:
    """The first image header that belongs to the study.

    Raises:
        Permanent: REPORT_INVALID where there is none.
    """
    for source in sources:
        if source.get("StudyInstanceUID") == study_instance_uid:
            return source
    raise Permanent(
        Reason.REPORT_INVALID, f"none of {len(sources)} source images belongs to study {study_instance_uid}"
    )


# pydicom quotes malformed values in the warnings that it logs, and these are a patient's.
@disable_value_validation()
def legible(source: Dataset) -> Dataset:
    """A copy without private attributes, pixels, and attributes whose value can't be parsed."""
    copy = Dataset()
    for tag in source.keys():  # noqa: SIM118  iterating a Dataset parses as it goes, and would stop at a bad value
        if tag.is_private or tag.group >= 0x7F00:
            continue
        try:
            element = deepcopy(source[tag])
        except (ValueError, TypeError, ArithmeticError, NotImplementedError, KeyError, BytesLengthException):
            # What pydicom raises for numbers, dates and VRs that are none; the attribute is as good as missing.
            continue
        copy.add(element)
    return copy


def empty_patient_and_study() -> Dataset:
    """The type 2 attributes, all of them unknown."""
    empty = Dataset()
    for keyword in _TYPE_2:
        setattr(empty, keyword, None)
    return empty


def local_time(moment: datetime, source: Dataset) -> datetime:
    """`moment` on the clock that the study's own dates and times are read by.

    One Timezone Offset From UTC holds for all times of an object (PS3.3 C.12.1.1.8), those of the study included. So
    the report uses the source's offset where there is one; else times are local to the site, which is this machine's
    zone. UTC without saying so would show reports hours before or after their scan.
    """
    offset = _utc_offset(str(source.get("TimezoneOffsetFromUTC") or ""))
    return moment.astimezone(offset)


def _utc_offset(text: str) -> timezone | None:
    """`+0130` as a time zone; None where it is missing or malformed."""
    digits = text.strip()[1:]
    if text.strip()[:1] not in ("+", "-") or len(digits) != 4 or not digits.isdecimal() or int(digits[2:]) > 59:
        return None
    size = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    if size > timedelta(hours=14):
        return None
    return timezone(-size if text.strip()[0] == "-" else size)
