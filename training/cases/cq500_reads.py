"""What is said of CQ500's scans: three readers' votes (`reads.csv`), and the comparator's probabilities.

Columns are found by their names, never by their places: the files have ICH, IPH, IVH, SDH, EDH, SAH in this order, a
network has any, intraparenchymal, intraventricular, subarachnoid, subdural, epidural, and EDH taken for SAH gives a
table that looks plausible and is wrong.

Shapes: R = 3 readers, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

import csv
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.measures.basic import Flags, Floats

#: CQ500's word for each class.
CODES: Mapping[str, str] = {
    "any": "ICH",
    "intraparenchymal": "IPH",
    "intraventricular": "IVH",
    "subarachnoid": "SAH",
    "subdural": "SDH",
    "epidural": "EDH",
}
READERS: tuple[str, ...] = ("R1", "R2", "R3")

#: Of the 491 scans of the whole data set (Chilamkurthy et al., Lancet 392 (2018) 2388).
PUBLISHED_SCANS = 491
PUBLISHED_POSITIVES: Mapping[str, int] = {
    "any": 205,
    "intraparenchymal": 134,
    "intraventricular": 28,
    "subarachnoid": 60,
    "subdural": 53,
    "epidural": 13,
}

_NAME = re.compile(r"(?:CQ500)?[-_ ]*(?:CT)?[-_ ]*(\d+)$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Read:
    """One scan as its three readers saw it."""

    #: As "CQ500-CT-0".
    name: str
    #: "B1" or "B2": the batch in which it was collected.
    category: str
    #: bool [R, C].
    votes_RC: NDArray[np.bool_]

    @property
    def truth_C(self) -> Flags:  # noqa: N802
        """What two of the three said, bool [C]."""
        return np.asarray(2 * self.votes_RC.sum(axis=0) > len(self.votes_RC))

    @property
    def contradicts(self) -> bool:
        """Whether the majority sees a kind of haemorrhage and no haemorrhage: each class is voted on by itself."""
        any_is_there, *kinds = self.truth_C
        return bool(any(kinds) and not any_is_there)


@dataclass(frozen=True, kw_only=True)
class Reads:
    """`reads.csv`, in the order of the studies' numbers."""

    rows: tuple[Read, ...]
    #: Of the file.
    sha256: str

    @property
    def positives(self) -> Mapping[str, int]:
        """How many scans have each class by majority."""
        counts_C = np.sum([read.truth_C for read in self.rows], axis=0)
        return {name: int(count) for name, count in zip(CLASSES, counts_C, strict=True)}

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Scans whose majority contradicts itself; the votes are taken as they are, as the paper did."""
        return tuple(read.name for read in self.rows if read.contradicts)

    @property
    def is_published(self) -> bool:
        """Whether scans and positives are those that were published."""
        return len(self.rows) == PUBLISHED_SCANS and dict(self.positives) == dict(PUBLISHED_POSITIVES)


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """`prediction_probabilities.csv`: the comparator's."""

    #: By name as "CQ500-CT-0", [C].
    p_C: Mapping[str, Floats]
    sha256: str


def read_reads(path: Path) -> Reads:
    """The votes of `reads.csv`; other columns than those of the six classes are not looked at.

    Raises:
        UserError: a column is missing or there twice, a vote is no 0 or 1, or a scan has two rows; says where.
    """
    rows, sha256 = _rows(path)
    places = {
        (reader, name): _column(path, rows[0], f"{reader}:{code}", (reader, code))
        for reader in READERS
        for name, code in CODES.items()
    }
    named = _named(path, rows)
    category = next((c for c in rows[0] if c.strip().lower() == "category"), None)
    reads = [
        Read(
            name=name,
            category=(row[category] or "").strip() if category else "",
            votes_RC=np.array([[_vote(path, name, row, places[r, c]) for c in CLASSES] for r in READERS], dtype=bool),
        )
        for name, row in named
    ]
    return Reads(rows=tuple(sorted(reads, key=lambda r: study_number(r.name))), sha256=sha256)


def read_predictions(path: Path) -> Predictions:
    """The probabilities of `prediction_probabilities.csv`.

    Raises:
        UserError: a column is missing or ambiguous, a probability lies outside 0 to 1, or a scan has two rows.
    """
    rows, sha256 = _rows(path)
    places = {name: _column(path, rows[0], code, (code,)) for name, code in CODES.items()}
    p_C = {
        name: np.array([_probability(path, name, row, places[c]) for c in CLASSES]) for name, row in _named(path, rows)
    }
    return Predictions(p_C=p_C, sha256=sha256)


def study_name(text: str) -> str | None:
    """The name of a study as "CQ500-CT-0", of CQ500-CT-0, CQ500CT0 or 0; None of anything else."""
    found = _NAME.match(text.strip())
    return f"CQ500-CT-{int(found[1])}" if found else None


def study_number(name: str) -> int:
    """What the data set is ordered by: of "CQ500-CT-12" the 12."""
    return int(name.rpartition("-")[2])


_Row = Mapping[str, str]


def _rows(path: Path) -> tuple[Sequence[_Row], str]:
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no text in UTF-8; take the file of the download as it is") from error
    table = csv.DictReader(text.splitlines())
    header = [name for name in table.fieldnames or () if name.strip()]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise UserError(f"{path} has the column {twice[0]} twice; take the file of the download as it is")
    rows = [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in table]
    if not rows:
        raise UserError(f"{path} holds no row; take the file of the download as it is")
    return rows, hashlib.sha256(content).hexdigest()


def _column(path: Path, row: _Row, written: str, words: Sequence[str]) -> str:
    """The column of this very name, else the one that has all the words: "probs(ICH)" is that of ICH."""
    if exact := [c for c in row if c.strip().lower() == written.lower()]:
        return exact[0]
    wanted = {word.lower() for word in words}
    found = [c for c in row if wanted <= set(re.findall(r"[a-z0-9]+", c.lower()))]
    if len(found) == 1:
        return found[0]
    fault = f"{len(found)} columns that may be {written} ({', '.join(found)})" if found else f"no column {written}"
    raise UserError(f"{path} has {fault}; take the file of the download as it is")


def _named(path: Path, rows: Sequence[_Row]) -> list[tuple[str, _Row]]:
    column = next((c for c in rows[0] if c.strip().lower() == "name"), next(iter(rows[0])))
    named: dict[str, _Row] = {}
    for line, row in enumerate(rows, 2):
        if not any(value.strip() for value in row.values()):
            continue
        name = study_name(row[column])
        if name is None:
            raise UserError(f"{path}, line {line}: {row[column]!r} names no study; it should be as CQ500-CT-0")
        if name in named:
            raise UserError(f"{path}, line {line}: {name} has a row already; one of the two must go")
        named[name] = row
    return list(named.items())


def _vote(path: Path, name: str, row: _Row, column: str) -> bool:
    try:
        vote = float(row[column])
    except ValueError:
        vote = -1.0
    if vote not in (0.0, 1.0):
        raise UserError(f"{path}: {name} has {row[column]!r} in {column}, where 0 or 1 should stand")
    return vote == 1.0


def _probability(path: Path, name: str, row: _Row, column: str) -> float:
    try:
        p = float(row[column])
    except ValueError:
        p = -1.0
    if not 0.0 <= p <= 1.0:
        raise UserError(f"{path}: {name} has {row[column]!r} in {column}, where a probability should stand")
    return p
