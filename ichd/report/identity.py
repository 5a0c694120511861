"""UIDs derived, never drawn: the same result always becomes the same object.

A report that is sent again, by another worker, after a crash, or to a second destination, keeps its UIDs, so that a
PACS holds one instance however often it was sent (PS3.5 B.2: a UUID as a decimal number under 2.25).
"""

import uuid

#: Fixed for ever: another namespace would give every object ever sent a second identity.
_NAMESPACE = uuid.UUID("6c1d3a5e-52a4-4f43-9c0e-3b8f7a1d9e24")


def object_uid(*, study_instance_uid: str, bundle_sha256: str, revision: int, kind: str) -> str:
    """UID of one object of one result: `kind` says which, e.g. "sr" or "sr/series"."""
    return _uid("object", study_instance_uid, bundle_sha256, str(revision), kind)


def report_uids(*, study_instance_uid: str, bundle_sha256: str, revision: int) -> tuple[str, str]:
    """Series and SOP Instance UID of the Structured Report of one revision."""

    def uid(kind: str) -> str:
        return object_uid(
            study_instance_uid=study_instance_uid, bundle_sha256=bundle_sha256, revision=revision, kind=kind
        )

    return uid("sr/series"), uid("sr")


def tracking_uid(*, study_instance_uid: str, bundle_sha256: str, class_name: str) -> str:
    """Tracking Unique Identifier (TID 4108) of a kind of haemorrhage in one study.

    The revision is left out: a late slice gives a new report on the same observation, and that is what tracking means.
    """
    return _uid("tracking", study_instance_uid, bundle_sha256, class_name)


def device_uid() -> str:
    """Device Observer UID (TID 1004): the same for every report that this software writes."""
    return _uid("device", "ichd")


def _uid(*parts: str) -> str:
    # A separator that no part contains keeps ("1", "12") and ("11", "2") apart.
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(parts)).int}"
