"""Who and which order a message is about: PID, PV1, ORC and the numbers of OBR, from the header of an image.

Values are passed on as they stand. What can't be a value of its field is left out: a receiver files by these.
"""

import re
from dataclasses import dataclass

from pydicom import Dataset

from ichd.report.hl7_text import NOTHING, Field, components, repetitions, segment, text

_DATE = re.compile(r"[0-9]{8}")
_TIME = re.compile(r"[0-9]{2}([0-9]{2}([0-9]{2}(\.[0-9]{1,4})?)?)?")
#: Patient's Sex (PS3.3 C.7.1.1) as HL7 table 0001 has it.
_SEXES = frozenset("FMO")
#: XPN-8 of the component groups of a PN (PS3.5 6.2.1): alphabetic, ideographic, phonetic.
_REPRESENTATIONS = "AIP"


@dataclass(frozen=True, kw_only=True)
class Order:
    """By which numbers a receiver knows the study; each may be empty."""

    placer: str
    filler: str
    accession: str

    @property
    def numbers(self) -> dict[int, Field]:
        """Placer and filler order number, at the places that they have in ORC and in OBR."""
        return {2: text(self.placer), 3: text(self.filler)}


def order_of(source: Dataset) -> Order:
    """The order of the study. Where it names no filler number, the accession number is one: who fills orders for
    imaging gives it out."""
    accession = _value(source, "AccessionNumber")
    return Order(
        placer=_value(source, "PlacerOrderNumberImagingServiceRequest"),
        filler=_value(source, "FillerOrderNumberImagingServiceRequest") or accession,
        accession=accession,
    )


def patient(source: Dataset) -> Field:
    """PID."""
    birth_date = _value(source, "PatientBirthDate")
    sex = _value(source, "PatientSex").upper()
    fields = {
        1: Field("1"),
        3: _identifier(source),
        5: _name(_value(source, "PatientName")),
        7: Field(birth_date) if _DATE.fullmatch(birth_date) else NOTHING,
        8: Field(sex) if sex in _SEXES else NOTHING,
    }
    return segment("PID", fields)


def visit() -> Field:
    """PV1: an image does not say whether its patient lies here."""
    return segment("PV1", {1: Field("1"), 2: Field("U")})


def study_moment(source: Dataset) -> Field:
    """Study Date and Time (OBR-7, OBX-14), on the clock of the scanner."""
    date, time = _value(source, "StudyDate"), _value(source, "StudyTime")
    if not _DATE.fullmatch(date):
        return NOTHING
    # A DTM has no hours alone (HL7 2.A.21).
    known = _TIME.fullmatch(time) and len(time) >= len("HHMM")
    return Field(date + time if known else date)


def person(source: Dataset) -> dict[str, str]:
    """Who the patient is, by DICOM's words, for a body that may say so."""
    return {
        "id": _value(source, "PatientID"),
        "issuer": _value(source, "IssuerOfPatientID"),
        "name": _value(source, "PatientName"),
        "birth_date": _value(source, "PatientBirthDate"),
        "sex": _value(source, "PatientSex"),
    }


def _identifier(source: Dataset) -> Field:
    """Patient ID with who gave it out (CX)."""
    patient_id = _value(source, "PatientID")
    if not patient_id:
        return NOTHING
    qualifiers = source.get("IssuerOfPatientIDQualifiersSequence") or [Dataset()]
    authority = (
        _value(source, "IssuerOfPatientID"),
        _value(qualifiers[0], "UniversalEntityID"),
        _value(qualifiers[0], "UniversalEntityIDType"),
    )
    subcomponents = "&".join(map(text, authority)).rstrip("&")
    return Field(f"{text(patient_id)}^^^{subcomponents}".rstrip("^"))


def _name(name: str) -> Field:
    """A PN as XPN: the two have prefix and suffix the other way round; further writings of it are repetitions."""
    writings = []
    for group, representation in zip(name.split("="), _REPRESENTATIONS, strict=False):
        family, given, middle, prefix, suffix = ([*group.split("^"), "", "", "", ""])[:5]
        if group.strip("^ "):
            parts = (family, given, middle, suffix, prefix)
            # The first writing says so only beside others: most receivers never look that far.
            more = ("", "", representation) if "=" in name else ()
            writings.append(components(*parts, *more))
    return repetitions(writings)


def _value(source: Dataset, keyword: str) -> str:
    """A single value without padding; of several the first."""
    value = source.get(keyword)
    if value is None:
        return ""
    several = isinstance(value, list | tuple) or type(value).__name__ == "MultiValue"
    return str((value[0] if len(value) else "") if several else value).strip()
