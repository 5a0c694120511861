"""Which attributes a search returns and by which it finds (PS3.18 10.6.3, tables of Study, Series and Instance)."""

from enum import IntEnum
from functools import cache

from pydicom.datadict import dictionary_has_tag, dictionary_VR, tag_for_keyword
from pydicom.tag import Tag


class Level(IntEnum):
    """What a result of a search is."""

    STUDY = 0
    SERIES = 1
    INSTANCE = 2


#: Copied from a stored file. UIDs, counts and addresses are our own to say, and not among them.
RETURNED: dict[Level, tuple[str, ...]] = {
    Level.STUDY: (
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "ReferringPhysicianName",
        "TimezoneOffsetFromUTC",
        "StudyDescription",
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
    ),
    Level.SERIES: (
        "Modality",
        "TimezoneOffsetFromUTC",
        "SeriesDescription",
        "SeriesDate",
        "SeriesTime",
        "BodyPartExamined",
        "Laterality",
        "SeriesNumber",
        "PerformedProcedureStepStartDate",
        "PerformedProcedureStepStartTime",
        "RequestAttributesSequence",
    ),
    Level.INSTANCE: (
        "TimezoneOffsetFromUTC",
        "InstanceNumber",
        "Rows",
        "Columns",
        "BitsAllocated",
        "NumberOfFrames",
    ),
}

#: Found by what the database knows.
CATALOGUED: dict[Level, tuple[str, ...]] = {
    Level.STUDY: ("StudyInstanceUID", "AccessionNumber", "StudyDate", "ModalitiesInStudy", "Modality"),
    Level.SERIES: ("SeriesInstanceUID", "SeriesNumber"),
    Level.INSTANCE: ("SOPInstanceUID", "SOPClassUID", "InstanceNumber"),
}

#: Found by what a stored file says: the database never holds who the patient is.
READ: dict[Level, tuple[str, ...]] = {
    Level.STUDY: (
        "PatientName",
        "PatientID",
        "PatientBirthDate",
        "PatientSex",
        "StudyID",
        "StudyTime",
        "StudyDescription",
        "ReferringPhysicianName",
    ),
    Level.SERIES: ("SeriesDescription", "BodyPartExamined"),
    Level.INSTANCE: (),
}


def up_to(level: Level, table: dict[Level, tuple[str, ...]]) -> frozenset[str]:
    """The keywords of a level and of those above it."""
    return frozenset(keyword for each, keywords in table.items() if each <= level for keyword in keywords)


@cache
def tag_of(keyword: str) -> int:
    """The tag of a keyword of the dictionary."""
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(f"{keyword} is no keyword of PS3.6")
    return tag


def find_tag(name: str) -> int | None:
    """The tag that a keyword or eight hexadecimal digits name (PS3.18 8.3.4.1); None where they name nothing."""
    tag = tag_for_keyword(name)
    if tag is not None:
        return tag
    if len(name) == 8 and all(c in "0123456789abcdefABCDEF" for c in name):
        return int(name, 16)
    return None


def vr_of(tag: int) -> str:
    """The VR of the dictionary, UN where it has none or several."""
    vr = dictionary_VR(Tag(tag)) if dictionary_has_tag(Tag(tag)) else "UN"
    return vr if len(vr) == 2 else "UN"
