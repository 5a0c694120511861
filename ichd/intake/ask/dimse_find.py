"""Questions by C-FIND (PS3.4 C.4.1)."""

from collections.abc import Mapping, Sequence

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pynetdicom.association import Association

from ichd.domain.errors import Permanent
from ichd.domain.reason import Reason
from ichd.intake.ask.association import associated, failed, service, status_of
from ichd.intake.ask.rows import Level, Row
from ichd.intake.ask.sources import DimseSource

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"

#: More matches than anybody can have meant; the query is at fault, or the archive ignores its keys.
MOST_ROWS = 100_000
_SUCCESS = 0x0000
_PENDING = frozenset({0xFF00, 0xFF01})


class DimseArchive:
    """An archive of the Study Root information model; each question takes an association of its own."""

    def __init__(self, source: DimseSource) -> None:
        self._source = source

    def find(self, level: Level, matching: Mapping[str, str]) -> list[Row]:
        """All matches, by C-FIND.

        Raises:
            SettingsError, Transient, Permanent: as `associated`; or the archive answers with a failure.
        """
        with associated(self._source, [service(STUDY_ROOT_FIND)]) as association:
            return self._rows(association, level, identifier(level, matching, wanted=level.keys))

    def echo(self) -> None:
        """C-ECHO.

        Raises:
            SettingsError, Transient, Permanent: as `associated`.
        """
        with associated(self._source, [service(VERIFICATION)]) as association:
            status = status_of(self._source, association.send_c_echo())
            if status != _SUCCESS:
                raise failed(self._source, status, "C-ECHO")

    def _rows(self, association: Association, level: Level, question: Dataset) -> list[Row]:
        rows: list[Row] = []
        for answer, match in association.send_c_find(question, STUDY_ROOT_FIND):
            status = status_of(self._source, answer)
            if status in _PENDING:
                if match is None:
                    raise Permanent(Reason.SOURCE_CONFUSED, f"{self._source}: an answer to C-FIND can't be decoded")
                rows.append({keyword: _text(match, keyword) for keyword in level.keys if keyword in match})
                if len(rows) > MOST_ROWS:
                    raise Permanent(Reason.SOURCE_CONFUSED, f"{self._source}: more than {MOST_ROWS} matches")
            elif status != _SUCCESS:
                raise failed(self._source, status, "C-FIND")
        return rows


def identifier(level: Level, matching: Mapping[str, str], *, wanted: Sequence[str] = ()) -> Dataset:
    """The identifier of a request: keys to match by, and empty ones for what is asked back."""
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level.name
    for keyword in wanted:
        setattr(dataset, keyword, "")
    for keyword, value in matching.items():
        setattr(dataset, keyword, value)
    return dataset


def _text(match: Dataset, keyword: str) -> str:
    """A value as text; one that pydicom can't convert is no value."""
    try:
        value = match.get(keyword)
    except (ValueError, TypeError, ArithmeticError, LookupError, NotImplementedError):
        return ""
    values = value if isinstance(value, MultiValue) else [value]
    return "\\".join("" if each is None else str(each).strip("\0 ") for each in values)
