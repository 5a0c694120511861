"""How images come to us, and what others say of what is coming."""

from enum import StrEnum


class Door(StrEnum):
    """Where images come in."""

    #: C-STORE.
    DIMSE = "dimse"
    #: STOW-RS.
    STOW = "stow"
    #: We asked for them.
    PULL = "pull"


class AnnouncementKind(StrEnum):
    """Who says how much a study has, or that it is complete."""

    #: Instance Availability Notification (PS3.4 annex R).
    AVAILABILITY = "availability"
    #: Modality Performed Procedure Step (PS3.4 annex F).
    PERFORMED_STEP = "performed_step"
    #: The source was asked, by C-FIND or QIDO-RS.
    COUNT = "count"
    #: Number of Study Related Instances (0020,1208) in the header of an image.
    HEADER = "header"


class CommitmentState(StrEnum):
    """Where a request for storage commitment stands."""

    PENDING = "pending"
    #: Its answer was taken.
    REPORTED = "reported"
    #: Nobody took its answer, and it is not tried any more.
    FAILED = "failed"
