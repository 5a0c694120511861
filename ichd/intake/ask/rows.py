"""What an archive is asked for and what it answers, before anybody knows what a study is.

A row is one match: attributes by keyword, as text, of several values joined by backslashes. It may hold who the patient
is, and so it is never printed, logged or stored.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Protocol

Row = Mapping[str, str]


class Level(Enum):
    """Levels of the Study Root information model (PS3.4 C.6.2.1), each with what is asked back of a match."""

    STUDY = (
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "PatientID",
        "IssuerOfPatientID",
        "ModalitiesInStudy",
    )
    SERIES = ("StudyInstanceUID", "SeriesInstanceUID", "Modality", "BodyPartExamined", "NumberOfSeriesRelatedInstances")
    IMAGE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")

    @property
    def keys(self) -> Sequence[str]:
        """Keywords of what is asked back."""
        keys: Sequence[str] = self.value
        return keys


class Archive(Protocol):
    """Somebody who can be asked what there is."""

    def find(self, level: Level, matching: Mapping[str, str]) -> list[Row]:
        """All matches.

        Raises:
            Transient: the archive does not answer, or is busy.
            Permanent: it does not answer such questions.
        """
