"""Which studies, series and images an archive has."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ichd.intake.ask.rows import Archive, Level, Row
from ichd.intake.claim import ACCEPTED_SOP_CLASSES
from ichd.intake.values import is_uid


@dataclass(frozen=True, kw_only=True)
class StudyQuery:
    """Which studies are meant; what is empty matches everything."""

    study_uid: str = ""
    accession_number: str = field(default="", repr=False)
    patient_id: str = field(default="", repr=False)
    #: YYYYMMDD, inclusive.
    first_date: str = ""
    last_date: str = ""


@dataclass(frozen=True, kw_only=True)
class FoundStudy:
    """A study that holds CT images, as far as the archive says what it holds."""

    study_uid: str
    #: YYYYMMDD, empty where the archive has none.
    date: str
    #: HHMMSS, or less of it.
    time: str
    #: Held in memory to find priors by, and nowhere else.
    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class FoundSeries:
    """A CT series."""

    series_uid: str
    body_part: str
    #: None where the archive does not count.
    images: int | None


def find_studies(archive: Archive, query: StudyQuery) -> list[FoundStudy]:
    """Studies with CT images, newest first.

    Raises:
        Transient, Permanent: as `Archive.find`.
    """
    exact = {
        "StudyInstanceUID": query.study_uid,
        "AccessionNumber": query.accession_number,
        "PatientID": query.patient_id,
    }
    matching = {keyword: value for keyword, value in exact.items() if value} | {"ModalitiesInStudy": "CT"}
    if query.first_date or query.last_date:
        matching["StudyDate"] = f"{query.first_date}-{query.last_date}"
    found = {
        row["StudyInstanceUID"]: FoundStudy(
            study_uid=row["StudyInstanceUID"],
            date=_date(row.get("StudyDate", "")),
            time=row.get("StudyTime", "").replace(":", ""),
            patient_id=row.get("PatientID", ""),
            issuer=row.get("IssuerOfPatientID", ""),
        )
        for row in archive.find(Level.STUDY, matching)
        if is_uid(row.get("StudyInstanceUID", "")) and _is_meant(row, exact) and _may_hold_ct(row)
    }
    return sorted(found.values(), key=lambda study: (study.date, study.time), reverse=True)


def find_ct_series(archive: Archive, study_uid: str) -> list[FoundSeries]:
    """Series of a study whose Modality is CT.

    Raises:
        Transient, Permanent: as `Archive.find`.
    """
    # Modality is a required key (PS3.4 table C.6-3), but an archive that does not match by it answers with all.
    rows = archive.find(Level.SERIES, {"StudyInstanceUID": study_uid, "Modality": "CT"})
    return list(
        {
            row["SeriesInstanceUID"]: FoundSeries(
                series_uid=row["SeriesInstanceUID"],
                body_part=row.get("BodyPartExamined", "").upper(),
                images=_number(row.get("NumberOfSeriesRelatedInstances", "")),
            )
            for row in rows
            if is_uid(row.get("SeriesInstanceUID", "")) and row.get("Modality") == "CT"
        }.values()
    )


def find_images(archive: Archive, study_uid: str, series_uid: str) -> tuple[list[str], int]:
    """SOP Instance UIDs of the images of a series that intake would take, and how many more objects it holds.

    Raises:
        Transient, Permanent: as `Archive.find`.
    """
    rows = archive.find(Level.IMAGE, {"StudyInstanceUID": study_uid, "SeriesInstanceUID": series_uid})
    classes = {
        row["SOPInstanceUID"]: row.get("SOPClassUID", "") for row in rows if is_uid(row.get("SOPInstanceUID", ""))
    }
    # Captures of a screen lie in CT series too. An archive that names no SOP class is believed to hold images.
    images = [uid for uid, sop_class in classes.items() if sop_class in ("", *ACCEPTED_SOP_CLASSES)]
    return images, len(classes) - len(images)


def _is_meant(row: Row, exact: Mapping[str, str]) -> bool:
    """Archives take * and ? in an identifier for wildcards, and may ignore a key; another's study is no prior."""
    return all(row.get(keyword) == value for keyword, value in exact.items() if value)


def _may_hold_ct(row: Row) -> bool:
    modalities = row.get("ModalitiesInStudy", "")
    return not modalities or "CT" in modalities.split("\\")


def _date(text: str) -> str:
    """Older archives write YYYY.MM.DD (PS3.5 6.2, DA)."""
    return text.replace(".", "")


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None
