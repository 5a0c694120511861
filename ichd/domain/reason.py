"""Coded reasons: why an instance, a series, a study or a delivery did not take the usual way.

Nothing is dropped in silence: whatever does not end in a report ends with one of these, where a user looks. The codes
are stable (stored in the database, printed by ``ichd status --json``); the meanings may be reworded.
"""

from enum import StrEnum


class Reason(StrEnum):
    """A stable code with a sentence for people."""

    # Instances at the door: stored by nobody, the sender sees a failure status.
    NOT_DICOM = "not_dicom"
    TRUNCATED = "truncated"
    BAD_UID = "bad_uid"
    UID_MISMATCH = "uid_mismatch"
    WRONG_MODALITY = "wrong_modality"
    DISK_LOW = "disk_low"
    TOO_LARGE = "too_large"
    ASSOCIATION_TOO_LARGE = "association_too_large"
    STORE_UNAVAILABLE = "store_unavailable"
    # Associations that were rejected, before any image.
    ASSOCIATION_NOT_ALLOWED = "association_not_allowed"
    TOO_MANY_ASSOCIATIONS = "too_many_associations"
    CALLED_AE_TITLE_UNKNOWN = "called_ae_title_unknown"
    ASSOCIATION_UNSUPPORTED = "association_unsupported"
    TLS_HANDSHAKE_FAILED = "tls_handshake_failed"
    # Requests for storage commitment that can't be answered, and results that nobody asked for.
    SOURCE_UNKNOWN = "source_unknown"
    PROMISE_UNKNOWN = "promise_unknown"
    # Instances that are kept, and flagged.
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    # Instances that were kept, and are not here now.
    IMAGES_DROPPED = "images_dropped"
    NOT_UPLOADED = "not_uploaded"
    # Series and studies that are not read.
    NO_CT_IMAGES = "no_ct_images"
    MISSING_GEOMETRY = "missing_geometry"
    LOCALIZER = "localizer"
    NOT_AXIAL = "not_axial"
    TOO_FEW_SLICES = "too_few_slices"
    TOO_MANY_SLICES = "too_many_slices"
    SHORT_COVERAGE = "short_coverage"
    NOT_A_HEAD = "not_a_head"
    DERIVED_SECONDARY = "derived_secondary"
    MULTI_FRAME = "multi_frame"
    FEWER_SLICES = "fewer_slices"
    RANKED_LOWER = "ranked_lower"
    QUALITY_CONTROL_OBJECT = "quality_control_object"
    REFORMATTED = "reformatted"
    PROJECTION = "projection"
    ANGIOGRAPHY = "angiography"
    PERFUSION = "perfusion"
    SHARP_KERNEL = "sharp_kernel"
    HEAD_INCOMPLETE = "head_incomplete"
    IMPLAUSIBLE_HU = "implausible_hu"
    ARTEFACTS = "artefacts"
    INCONSISTENT_SERIES = "inconsistent_series"
    PIXELS_UNREADABLE = "pixels_unreadable"
    NO_HOUNSFIELD_UNITS = "no_hounsfield_units"
    UNSUPPORTED_TRANSFER_SYNTAX = "unsupported_transfer_syntax"
    FILE_DAMAGED = "file_damaged"
    NO_READABLE_SERIES = "no_readable_series"
    # Work that went wrong.
    WORKER_DIED = "worker_died"
    MODEL_UNUSABLE = "model_unusable"
    INTERNAL_ERROR = "internal_error"
    TIME_LIMIT_EXCEEDED = "time_limit_exceeded"
    MEMORY_EXHAUSTED = "memory_exhausted"
    # What happens by the clock.
    SELF_TEST_DRIFTED = "self_test_drifted"
    COMMISSION_FAILED = "commission_failed"
    CERTIFICATE_EXPIRING = "certificate_expiring"
    # Images that were asked for.
    SOURCE_UNREACHABLE = "source_unreachable"
    SOURCE_REJECTED = "source_rejected"
    SOURCE_LOST = "source_lost"
    SOURCE_BUSY = "source_busy"
    SOURCE_REFUSED = "source_refused"
    SOURCE_CONFUSED = "source_confused"
    NOT_HANDED_OVER = "not_handed_over"
    NOT_ARRIVED = "not_arrived"
    MOVE_DESTINATION_UNKNOWN = "move_destination_unknown"
    # Deliveries.
    PEER_UNREACHABLE = "peer_unreachable"
    ASSOCIATION_REJECTED = "association_rejected"
    ASSOCIATION_LOST = "association_lost"
    NO_ACCEPTED_CONTEXT = "no_accepted_context"
    PEER_BUSY = "peer_busy"
    PEER_REFUSED = "peer_refused"
    DEMO_MODEL_BLOCKED = "demo_model_blocked"
    DESTINATION_UNKNOWN = "destination_unknown"
    REPORT_INVALID = "report_invalid"
    PEER_DENIED = "peer_denied"
    PEER_CONFUSED = "peer_confused"
    NOT_CONFIRMED = "not_confirmed"
    NOT_COMMITTED = "not_committed"
    GIVEN_UP = "given_up"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    # Readers' words that come back.
    REVIEW_UNKNOWN = "review_unknown"
    NO_REVIEW = "no_review"
    # The audit trail on its way to a syslog collector.
    COLLECTOR_UNREACHABLE = "collector_unreachable"
    COLLECTOR_LOST = "collector_lost"

    @property
    def meaning(self) -> str:
        """One sentence for people, with the mend where there is one."""
        return MEANINGS[self]


MEANINGS: dict[Reason, str] = {
    Reason.NOT_DICOM: "the bytes are not a DICOM data set",
    Reason.TRUNCATED: "the data set ends before its last element does; send it again",
    Reason.BAD_UID: "a UID is missing or is not a DICOM UID (digits and dots, at most 64 characters)",
    Reason.UID_MISMATCH: "the UIDs of the request and of the data set differ",
    Reason.WRONG_MODALITY: "only CT images are accepted; narrow the routing rule to Modality CT",
    Reason.DISK_LOW: "the disk of the spool is nearly full; free space there, images are taken again by themselves",
    Reason.TOO_LARGE: "the data set is larger than dicom.max_instance_mb allows; raise it to take such images",
    Reason.ASSOCIATION_TOO_LARGE: (
        "the association brought more than dicom.max_association_mb allows; send the rest in another one"
    ),
    Reason.STORE_UNAVAILABLE: "the database or the spool could not be used; see the log and run `ichd doctor`",
    Reason.ASSOCIATION_NOT_ALLOWED: "dicom.allowed_peers does not list this AE title at this address; add it there",
    Reason.TOO_MANY_ASSOCIATIONS: "dicom.max_associations were open already; the sender is told to come back",
    Reason.SOURCE_UNKNOWN: "no [[source]] has the AE title of who asks, so there is no address to answer to; add one",
    Reason.PROMISE_UNKNOWN: (
        "a result of storage commitment names no request of ours to who sends it; check the AE title of the destination"
    ),
    Reason.CALLED_AE_TITLE_UNKNOWN: "the sender calls us by another name than dicom.ae_title; correct it in the sender",
    Reason.ASSOCIATION_UNSUPPORTED: "the peer asks for a protocol or application that is not DICOM; correct it there",
    Reason.TLS_HANDSHAKE_FAILED: (
        "the peer could not agree on TLS with us; it must speak TLS 1.2 or newer, trust dicom.tls.certificate and, "
        "with dicom.tls.client_ca, show a certificate of its own"
    ),
    Reason.CONFLICTING_DUPLICATE: "the same SOP Instance UID arrived with other bytes; the first one is read",
    Reason.IMAGES_DROPPED: "its images were dropped (spool.retention_days, or a full disk); send the study again",
    Reason.NOT_UPLOADED: (
        "the image is not in the bucket yet, and lies on the machine that took it; start `ichd listen` there"
    ),
    Reason.NO_CT_IMAGES: "the study holds no CT image",
    Reason.MISSING_GEOMETRY: "Image Position, Image Orientation or Pixel Spacing (Patient) is missing or malformed",
    Reason.LOCALIZER: "a localizer (scout) is not read",
    Reason.NOT_AXIAL: "the slices are not within 30 degrees of axial",
    Reason.TOO_FEW_SLICES: "fewer distinct slice positions than study.min_slices asks for",
    Reason.TOO_MANY_SLICES: "more slice positions than study.max_slices allows, or too many thick slices",
    Reason.SHORT_COVERAGE: "the slices cover less than study.min_coverage_mm",
    Reason.NOT_A_HEAD: "the pixels do not look like a head, and study.require_head asks for one",
    Reason.DERIVED_SECONDARY: "a screen save, a dose page or another secondary picture is not read",
    Reason.MULTI_FRAME: "the frames of a multi-frame image can't be read as slices",
    Reason.FEWER_SLICES: "another series of the study has more slices (before series had points: see ranked_lower)",
    Reason.RANKED_LOWER: "another series of the study suits the model better",
    Reason.QUALITY_CONTROL_OBJECT: "a phantom or another object of quality control is no patient",
    Reason.REFORMATTED: "a reformat is read in the axial plane only",
    Reason.PROJECTION: "a projection (MIP, MinIP) or a rendering is no slice: its values are not those of one place",
    Reason.ANGIOGRAPHY: "vessels full of contrast agent look like blood to the model",
    Reason.PERFUSION: "a perfusion series shows the same slices again and again, with contrast agent",
    Reason.SHARP_KERNEL: "a thin stack with a bone kernel shows bone, and noise where blood would be",
    Reason.HEAD_INCOMPLETE: "too little of the brain is in the images for the model to speak about the head",
    Reason.IMPLAUSIBLE_HU: "air, soft tissue and bone do not have the Hounsfield units that they must have",
    Reason.ARTEFACTS: "motion or metal has destroyed too many slices; scan again",
    Reason.INCONSISTENT_SERIES: "slices of the series differ in orientation, size or frame of reference",
    Reason.PIXELS_UNREADABLE: "the pixel data could not be decoded",
    Reason.NO_HOUNSFIELD_UNITS: "Rescale Slope and Intercept are missing or unusable, so that pixels are no HU",
    Reason.UNSUPPORTED_TRANSFER_SYNTAX: "no maintained decoder reads this transfer syntax; send it decompressed",
    Reason.FILE_DAMAGED: "a stored file is missing or differs from the bytes that were received; send the study again",
    Reason.NO_READABLE_SERIES: "no series of the study can be read; the reason of each is listed with it",
    Reason.WORKER_DIED: "the worker died while it worked on this; run `ichd retry` once the cause is mended",
    Reason.MODEL_UNUSABLE: "the model bundle could not be used; run `ichd model verify`",
    Reason.INTERNAL_ERROR: "a defect of ichd; the log holds the traceback, please report it",
    Reason.TIME_LIMIT_EXCEEDED: "the job took longer than worker.time_limit_s, and its worker was ended",
    Reason.MEMORY_EXHAUSTED: "the job took far more memory than worker.memory_mb, and its worker was ended",
    Reason.COMMISSION_FAILED: (
        "a phantom did not take the live route to the archive and back as it must; run `ichd commission` and read its "
        "report"
    ),
    Reason.SELF_TEST_DRIFTED: (
        "the live model reads a stored phantom otherwise than it used to; stop trusting it, run `ichd model verify`, "
        "and look at what changed on the machine (driver, library, memory)"
    ),
    Reason.CERTIFICATE_EXPIRING: "a certificate ends soon, or has ended; renew it, its file is read again by itself",
    Reason.SOURCE_UNREACHABLE: "the source does not answer; check its address, that it runs, and its TLS settings",
    Reason.SOURCE_REJECTED: "the source does not let us in; check AE titles, account or token on both sides",
    Reason.SOURCE_LOST: (
        "the connection to the source broke; ask again, what has come is not fetched twice; "
        "one that hangs up at once may not know our AE title: add it there"
    ),
    Reason.SOURCE_BUSY: "the source is out of resources; ask again later, what has come is not fetched twice",
    Reason.SOURCE_REFUSED: "the source refused what it was asked; enable query and retrieval for our AE title there",
    Reason.SOURCE_CONFUSED: "the source answered against the rules of DICOM; report its name and version",
    Reason.NOT_HANDED_OVER: "the source has the image in its list but failed to hand it over; look into its log",
    Reason.NOT_ARRIVED: (
        "the source was told to send the image to our AE title and it did not arrive; check that `ichd serve` runs, "
        "and the host and port that the source has for our AE title"
    ),
    Reason.MOVE_DESTINATION_UNKNOWN: (
        "the source does not know where our AE title is; add dicom.ae_title with host and port to its destinations"
    ),
    Reason.PEER_UNREACHABLE: "the destination does not answer; check its address and that it runs",
    Reason.ASSOCIATION_REJECTED: "the destination rejected the association; check AE titles on both sides",
    Reason.ASSOCIATION_LOST: "the connection to the destination broke before it answered",
    Reason.NO_ACCEPTED_CONTEXT: "the destination accepts none of the report's SOP classes; enable SR storage there",
    Reason.PEER_BUSY: "the destination is out of resources and asks to try later",
    Reason.PEER_REFUSED: "the destination refused the object",
    Reason.DEMO_MODEL_BLOCKED: (
        "results of a demonstration model go to loopback destinations only; "
        "use a clinical bundle, or set model.allow_demo"
    ),
    Reason.DESTINATION_UNKNOWN: "the destination is no longer in the settings; add it again or leave the job dead",
    Reason.REPORT_INVALID: "the report could not be built from the source images",
    Reason.PEER_DENIED: "the destination does not let us in; correct account, token or certificate",
    Reason.PEER_CONFUSED: "the destination answered against the rules of its protocol; report its name and version",
    Reason.NOT_CONFIRMED: "the destination acknowledged the report and does not list it; look into its log",
    Reason.NOT_COMMITTED: (
        "the destination does not take responsibility for the report (storage commitment); look into its log"
    ),
    Reason.GIVEN_UP: (
        "the report was owed for longer than the destination's give_up_after_h; "
        "run `ichd retry` once the cause is mended"
    ),
    Reason.ATTEMPTS_EXHAUSTED: "all attempts failed; run `ichd retry` once the cause is mended",
    Reason.COLLECTOR_UNREACHABLE: (
        "the syslog collector does not take our connection; check audit.syslog, that it runs, and the TLS files"
    ),
    Reason.COLLECTOR_LOST: "the connection to the syslog collector broke; what was on its way is sent again",
    Reason.NO_REVIEW: (
        "it says neither that a reader agrees with a finding nor that he does not; send key objects titled Rejected "
        "for Quality Reasons, or an observation with a value of feedback.agreed or feedback.disagreed"
    ),
    Reason.REVIEW_UNKNOWN: "a reader's word names no finding of ours; it must name a study, report or accession number",
}
