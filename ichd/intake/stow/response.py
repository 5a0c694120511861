"""What a STOW-RS client is told (PS3.18 10.5.3 and table 10.5.3-2, "Store Instances Response Module").

Two choices of ours. An image whose SOP Instance UID is taken by other bytes is stored with a warning, as it is kept
for a person to look at but not read: to call it a failure would make the client send it for ever. And a request that
was not read to its end is answered by a 4xx status even where some of its images were stored, because 202 would say
that all were looked at; what was stored is listed all the same.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from ichd.domain.reason import Reason
from ichd.intake.status import STATUS
from ichd.intake.stow.rendering import Record
from ichd.intake.stow.storing import Failed, Stored
from ichd.intake.values import is_uid

#: Warning Reason (0008,1196): kept beside other bytes of the same UID. Ours, as the standard has none for this.
CONFLICTING = 0xB0C0
#: Failure Reasons (0008,1197) for which STOW-RS has a code of its own; else those of C-STORE.
_FAILURE_REASONS: Mapping[Reason, int] = {**STATUS, Reason.UNSUPPORTED_TRANSFER_SYNTAX: 0xC122}
#: Processing failure (PS3.7 C.5).
_PROCESSING_FAILURE = 0x0110


def status_of(outcomes: Sequence[Stored | Failed]) -> HTTPStatus:
    """The status of a request that was read to its end."""
    failures = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    if not outcomes:
        return HTTPStatus.BAD_REQUEST
    if len(failures) == len(outcomes):
        only_transient = all(failure.transient for failure in failures)
        return HTTPStatus.SERVICE_UNAVAILABLE if only_transient else HTTPStatus.CONFLICT
    warned = any(isinstance(outcome, Stored) and outcome.conflicting for outcome in outcomes)
    return HTTPStatus.ACCEPTED if failures or warned else HTTPStatus.OK


def store_response(outcomes: Sequence[Stored | Failed], studies_url: str) -> Record:
    """The data set of the answer; `studies_url` is where WADO-RS finds all studies."""
    stored = [outcome for outcome in outcomes if isinstance(outcome, Stored)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failed)]
    studies = {outcome.study_instance_uid for outcome in stored if outcome.retrievable}
    sequences: Record = {
        "ReferencedSOPSequence": [_stored(outcome, studies_url) for outcome in stored],
        "FailedSOPSequence": [_failed(failure) for failure in failed if _is_named(failure)],
        "OtherFailuresSequence": [_reason(failure) for failure in failed if not _is_named(failure)],
    }
    return {
        # Type 2: there is no URL for several studies, nor for a reader's word.
        "RetrieveURL": f"{studies_url}/{studies.pop()}" if len(studies) == 1 else "",
        **{keyword: items for keyword, items in sequences.items() if items},
    }


def _stored(outcome: Stored, studies_url: str) -> Record:
    study, series, image = outcome.study_instance_uid, outcome.series_instance_uid, outcome.sop_instance_uid
    return {
        "ReferencedSOPClassUID": outcome.sop_class_uid,
        "ReferencedSOPInstanceUID": image,
        "RetrieveURL": f"{studies_url}/{study}/series/{series}/instances/{image}" if outcome.retrievable else "",
        **({"WarningReason": CONFLICTING} if outcome.conflicting else {}),
    }


def _is_named(failure: Failed) -> bool:
    return is_uid(failure.claim.sop_class_uid) and is_uid(failure.claim.sop_instance_uid)


def _failed(failure: Failed) -> Record:
    return {
        "ReferencedSOPClassUID": failure.claim.sop_class_uid,
        "ReferencedSOPInstanceUID": failure.claim.sop_instance_uid,
        **_reason(failure),
    }


def _reason(failure: Failed) -> Record:
    return {"FailureReason": _FAILURE_REASONS.get(failure.reason, _PROCESSING_FAILURE)}
