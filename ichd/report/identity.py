"""UIDs derived, never drawn: the same result always becomes the same object.

A report that is sent again, by another worker, after a crash, or to a second destination, keeps its UIDs, so that a
PACS holds one instance however often it was sent (PS3.5 B.2: a UUID as a decimal number under 2.25).
"""

import uuid
from dataclasses import dataclass

#: Fixed for ever: another namespace would give every object ever sent a second identity.
_NAMESPACE = uuid.UUID("6c1d3a5e-52a4-4f43-9c0e-3b8f7a1d9e24")


@dataclass(frozen=True, kw_only=True)
class Edition:
    """One revision of what is said about one study: all its objects are named after it.

    So a later edition can name the objects of the one before without having seen them.
    """

    study_instance_uid: str
    revision: int
    #: Of the model bundle that read the study; empty where none did.
    bundle_sha256: str = ""

    def uid(self, kind: str, number: int = 1) -> str:
        """SOP Instance UID of the `number`th object of a kind, counted from 1."""
        return self._uid(kind if number == 1 else f"{kind}/{number}")

    def series_uid(self, kind: str) -> str:
        """Series Instance UID: each kind has a series of its own, for a series has one modality."""
        return self._uid(f"{kind}/series")

    def _uid(self, name: str) -> str:
        return _uid("object", self.study_instance_uid, self.bundle_sha256, str(self.revision), name)


def tracking_uid(*, study_instance_uid: str, bundle_sha256: str, class_name: str) -> str:
    """Tracking Unique Identifier (TID 4108) of a kind of haemorrhage in one study.

    The revision is left out: a late slice gives a new report on the same observation, and that is what tracking means.
    """
    return _uid("tracking", study_instance_uid, bundle_sha256, class_name)


def device_uid() -> str:
    """Device Observer UID (TID 1004): the same for every report that this software writes."""
    return _uid("device", "ichd")


def algorithm_uid(bundle_sha256: str) -> str:
    """Device UID (0018,1002) of a model as it is used: other thresholds are another one."""
    return _uid("algorithm", bundle_sha256)


def _uid(*parts: str) -> str:
    # A separator that no part contains keeps ("1", "12") and ("11", "2") apart.
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(parts)).int}"
