"""Who is learnt from and who is asked: splits by patient, and the paper's own by a list of images.

A patient's place follows from the seed and his identifier alone: it is the same in whatever order files are found, and
stays when a site adds patients and indexes again. Nobody who was measured on before is learnt from then.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from ichd.domain.errors import UserError
from ichd.domain.finding import CLASSES
from training.cases.index import Split
from training.cases.leaving import leave_out

#: What to do with the other studies of a patient who is in the test set that was given.
SharedPatients = Literal["keep", "drop"]
SHARED = "its patient is in the test set"


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """How patients are shared out."""

    seed: int = 0
    #: Shares of the patients; the rest is learnt from.
    valid: float = 0.05
    test: float = 0.10
    #: Image identifiers of the paper's stage-1 test set; their studies are the test set, and `test` has no say.
    stage1_test: Path | None = None
    shared_patients: SharedPatients = "keep"

    def __post_init__(self) -> None:
        if not (0 <= self.valid < 1 and 0 <= self.test < 1 and self.valid + self.test < 1):
            raise UserError(f"shares of {self.valid:g} and {self.test:g} leave nothing to learn from; lower one")


def draw(seed: int, patient_id: str) -> float:
    """Where a patient falls between 0 and 1; evenly spread over patients."""
    digest = hashlib.sha256(f"{seed}/{patient_id}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def split(images: pl.DataFrame, rule: SplitRule) -> tuple[pl.DataFrame, Mapping[str, Any]]:
    """`images` with `split`, and what there is to report.

    Raises:
        UserError: none of the images of `rule.stage1_test` is here, or its file is none.
    """
    if rule.stage1_test is not None:
        return _by_list(images, rule, read_image_ids(rule.stage1_test))
    used = images.filter(pl.col("left_out").is_null())
    table, filled = _places(used["patient_id"].unique().to_list(), {"test": rule.test, "valid": rule.valid}, rule.seed)
    facts = {
        "rule": "by patient",
        "seed": rule.seed,
        "valid_share": rule.valid,
        "test_share": rule.test,
        "filled_up": list(filled),
    }
    return images.join(table, on="patient_id", how="left"), facts


def read_image_ids(path: Path) -> frozenset[str]:
    """Image identifiers: one a line, or the first or `ID` column of a CSV; `_<subtype>` at the end is cut off.

    Raises:
        UserError: there is no such file, or nothing in it.
    """
    mend = "give a file of image identifiers, one a line, or a CSV with an ID column"
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} can't be read ({error}); {mend}") from error
    header = [cell.strip().strip('"') for cell in lines[0].split(",")] if lines else []
    column = header.index("ID") if "ID" in header else 0
    cells = (line.split(",") for line in (lines[1:] if "ID" in header else lines))
    suffix = re.compile(rf"_({'|'.join(CLASSES)})$")
    found = frozenset(
        suffix.sub("", cell.strip().strip('"')) for row in cells if len(row) > column and (cell := row[column]).strip()
    )
    if not found:
        raise UserError(f"{path} names no image; {mend}")
    return found


def _by_list(images: pl.DataFrame, rule: SplitRule, test_ids: frozenset[str]) -> tuple[pl.DataFrame, Mapping[str, Any]]:
    listed = images.filter(pl.col("image_id").is_in(list(test_ids)))
    if listed.is_empty():
        raise UserError(f"none of the {len(test_ids)} images of {rule.stage1_test} is here; give the list of this data")
    test_studies = listed["study_id"].unique().to_list()
    in_test = pl.col("study_id").is_in(test_studies)
    test_patients = images.filter(in_test)["patient_id"].unique().to_list()
    others = images.filter(~in_test & pl.col("left_out").is_null())
    shared = others.filter(pl.col("patient_id").is_in(test_patients))
    if rule.shared_patients == "drop":
        images = leave_out(images, ~in_test & pl.col("patient_id").is_in(test_patients), SHARED)
        others = others.filter(~pl.col("patient_id").is_in(test_patients))
    table, filled = _places(others["patient_id"].unique().to_list(), {"valid": rule.valid}, rule.seed)
    images = images.join(table, on="patient_id", how="left")
    images = images.with_columns(split=pl.when(in_test).then(pl.lit("test")).otherwise(pl.col("split")))
    facts = {
        "rule": "stage-1 test set by its list of images",
        "seed": rule.seed,
        "valid_share": rule.valid,
        "filled_up": list(filled),
        "listed_images": len(test_ids),
        "listed_images_not_here": len(test_ids) - listed["image_id"].n_unique(),
        "shared_patients": shared["patient_id"].n_unique(),
        "studies_of_shared_patients": shared["study_id"].n_unique(),
        "shared_patients_rule": rule.shared_patients,
    }
    return images, facts


def _places(patients: list[str], shares: Mapping[Split, float], seed: int) -> tuple[pl.DataFrame, tuple[Split, ...]]:
    """Patients with their split, and the splits that chance had left empty.

    Of a handful that happens; then the nearest patient has to go there. Where he falls once there are more is another
    matter: who was measured on then may be learnt from later, and the report says so.
    """
    filled: list[Split] = []
    drawn = sorted((draw(seed, patient), patient) for patient in patients)
    place: dict[str, Split] = {}
    low = 0.0
    for name, share in shares.items():
        inside = [patient for value, patient in drawn if low <= value < low + share]
        if share and not inside and len(drawn) > len(place) + 1:
            inside = [next(patient for _, patient in drawn if patient not in place)]
            filled.append(name)
        place |= {patient: name for patient in inside if patient not in place}
        low += share
    rows = {"patient_id": patients, "split": [place.get(patient, "train") for patient in patients]}
    return pl.DataFrame(rows, schema={"patient_id": pl.String, "split": pl.String}), tuple(filled)
