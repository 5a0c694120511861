"""A candidate for promotion in front of the reference set, beside the model in force."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ichd.app.engine import load_in_force, open_reader
from ichd.app.promotion import current_of
from ichd.domain.errors import Permanent, UserError
from ichd.settings import ModelSettings
from ichd.vision.bundle import Bundle, load_bundle
from training.evaluation.gate import GateResult, gate
from training.evaluation.reference import knows, open_reference

#: Beside promoted bundles; a name that no bundle's folder can have, since those end in a digest.
_REFERENCE = "reference"

#: What is done, how much of how much.
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What the gate said, and of what."""

    reference: str
    result: GateResult
    #: Doubts about reference and candidate, the gate's own among them.
    remarks: tuple[str, ...]

    def to_record(self) -> dict[str, Any]:
        """As it is stored with the promotion."""
        return {**self.result.to_record(), "reference": self.reference, "remarks": list(self.remarks)}


def examine_candidate(
    model: ModelSettings, candidate: Path, *, reference: str, margin: float, on_progress: OnProgress
) -> Examination:
    """Read the reference set with both models, in the engine that the daemon reads with.

    What the engine had to convert for it is kept, so that the daemon need not do so again.

    Raises:
        UserError: a bundle or the reference set is damaged, none was named, or no engine is as the settings want it.
    """
    _, present = current_of(model)
    before, after = load_in_force(model), try_bundle(candidate)
    if after.identity.bundle_sha256 == present.bundle_sha256:
        raise UserError(f"{present.name} {present.version} is in force already; there is nothing to promote")
    wish = reference or model.reference
    studies = open_reference(
        wish,
        Path(model.promoted) / _REFERENCE,
        on_scan=lambda done, of: on_progress("rendering phantoms, once", done, of),
    )
    result = gate(
        open_reader(before, model).engine,
        open_reader(after, model).engine,
        studies.studies,
        margin,
        on_scan=lambda which, done, of: on_progress(f"reading with the {which} model", done, of),
    )
    return Examination(
        reference=studies.name,
        result=result,
        remarks=(*studies.remarks, *_doubts(before, after, knows_it=knows(after.manifest, studies)), *result.remarks),
    )


def try_candidate(model: ModelSettings, candidate: Path) -> None:
    """Whether the daemon could read with it here; without a gate nobody else would find out before the daemon does.

    Raises:
        UserError: it can't.
    """
    try:
        open_reader(try_bundle(candidate), model).warm_up()
    except Permanent as error:
        raise UserError(f"{candidate} can't be used: {error}") from error


def try_bundle(candidate: Path) -> Bundle:
    """A bundle, whole.

    Raises:
        UserError: it is damaged.
    """
    try:
        return load_bundle(candidate)
    except Permanent as error:
        raise UserError(f"{candidate} can't be used: {error}") from error


def _doubts(before: Bundle, after: Bundle, *, knows_it: bool) -> list[str]:
    found = []
    if knows_it:
        found.append(
            "the candidate was made from this very data: its test split is new to it only if neither training, "
            "calibration nor the choice among runs has used it"
        )
    if after.identity.demonstration and not before.identity.demonstration:
        found.append("the candidate is a demonstration model: its results are held back from clinical destinations")
    return found
