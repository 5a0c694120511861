"""What peers tell of a study beside its images: that they are available, and how a modality's work on it stands.

Instance Availability Notification (PS3.4 annex R) and Modality Performed Procedure Step (PS3.4 annex F) as a provider.
Nothing is kept of either but which study it is about, how many CT images it names, and whether it says that there are
no more; whoever wants more of a procedure step asks the department's own system.
"""

from collections.abc import Iterable

import structlog

from ichd.domain.arrival import AnnouncementKind
from ichd.intake.claim import ACCEPTED_SOP_CLASSES
from ichd.intake.information import Information, decode, has_sequence, has_text, items_of, text_of, uid_of
from ichd.intake.service import Answer, Operation, Request, Status
from ichd.intake.values import is_uid
from ichd.store.announcements import Announcements, Note, StepUpdate

_log = structlog.get_logger(__name__)

INSTANCE_AVAILABILITY = "1.2.840.10008.5.1.4.33"
PERFORMED_STEP = "1.2.840.10008.3.1.2.3.3"

#: Performed Procedure Step Status (PS3.3 C.4.14), and whether nothing more comes after it.
_ENDED = {"IN PROGRESS": False, "COMPLETED": True, "DISCONTINUED": True}

#: A step without one (0008,0060) may be ours.
_OUR_MODALITIES = frozenset(("CT", ""))

_SUCCESS = Answer(status=Status.SUCCESS)
_UNREADABLE = Answer(status=Status.INVALID_ARGUMENT_VALUE, comment="the data set can't be read")
_NO_STATUS = Answer(status=Status.INVALID_ARGUMENT_VALUE, comment="PerformedProcedureStepStatus is none")
_NOTES = {
    Note.NOTED: _SUCCESS,
    Note.TAKEN: Answer(status=Status.DUPLICATE_SOP_INSTANCE),
    Note.TOO_MUCH: Answer(status=Status.RESOURCE_LIMITATION, comment="too much was announced already"),
}
_UPDATES = {
    StepUpdate.UPDATED: _SUCCESS,
    StepUpdate.UNKNOWN: Answer(status=Status.NO_SUCH_SOP_INSTANCE),
    StepUpdate.ENDED: Answer(status=Status.PROCESSING_FAILURE, comment="the step has ended and may not be updated"),
}


class AnnouncedStudies:
    """Takes what peers tell; raises Transient where the database fails. Safe for any number of threads."""

    def __init__(self, announcements: Announcements) -> None:
        self._announcements = announcements

    def available(self, request: Request) -> Answer:
        """Instance Availability Notification: one N-CREATE."""
        if request.operation is not Operation.N_CREATE:
            return Answer(status=Status.UNRECOGNISED_OPERATION)
        notification = decode(request)
        if notification is None:
            return _UNREADABLE
        study_uid = uid_of(notification, "StudyInstanceUID")
        if study_uid is None:
            return _missing("StudyInstanceUID")
        references = (
            image
            for series in items_of(notification, "ReferencedSeriesSequence")
            for image in items_of(series, "ReferencedSOPSequence")
            # What lies on a shelf exists as well.
            if text_of(image, "InstanceAvailability") != "UNAVAILABLE"
        )
        images = _ct_images(references)
        # One that tells of a report, or of another modality's images, tells us nothing.
        return self._note(request, study_uid, images) if images else _SUCCESS

    def performed_step(self, request: Request) -> Answer:
        """Modality Performed Procedure Step: N-CREATE when the work begins, N-SET until it has ended."""
        if request.operation not in (Operation.N_CREATE, Operation.N_SET):
            return Answer(status=Status.UNRECOGNISED_OPERATION)
        if not is_uid(request.sop_instance_uid):
            return _missing("the UID of the step")
        step = decode(request)
        if step is None:
            return _UNREADABLE
        answer = self._begin(request, step) if request.operation is Operation.N_CREATE else self._set(request, step)
        _log.info(
            "procedure_step_told",
            operation=request.operation.name.lower(),
            status=int(answer.status),
            calling_ae_title=request.sender.calling_ae_title,
        )
        return answer

    def _note(self, request: Request, study_uid: str, images: int) -> Answer:
        caller = request.sender.calling_ae_title
        note = self._announcements.note(
            AnnouncementKind.AVAILABILITY,
            study_uid=study_uid,
            source=caller,
            complete=True,
            instances=images,
            now=request.received_at,
        )
        _log.info("availability_told", study=study_uid, images=images, kept=str(note), calling_ae_title=caller)
        return _NOTES[note]

    def _begin(self, request: Request, step: Information) -> Answer:
        """A step of another modality is kept as one of no study, so that its updates find it, and speaks of none."""
        scheduled = items_of(step, "ScheduledStepAttributesSequence")
        study_uid = next(filter(None, (uid_of(item, "StudyInstanceUID") for item in scheduled)), None)
        if study_uid is None:
            return _missing("StudyInstanceUID in ScheduledStepAttributesSequence")
        ended = _ENDED.get(text_of(step, "PerformedProcedureStepStatus"))
        if ended is None:
            return _NO_STATUS
        note = self._announcements.begin_step(
            request.sop_instance_uid,
            study_uid=study_uid if text_of(step, "Modality") in _OUR_MODALITIES else None,
            source=request.sender.calling_ae_title,
            complete=ended,
            instances=_images_of_step(step),
            now=request.received_at,
        )
        return _NOTES[note]

    def _set(self, request: Request, step: Information) -> Answer:
        ended = False
        if has_text(step, "PerformedProcedureStepStatus"):
            status = _ENDED.get(text_of(step, "PerformedProcedureStepStatus"))
            if status is None:
                return _NO_STATUS
            ended = status
        update = self._announcements.update_step(
            request.sop_instance_uid, ended=ended, instances=_images_of_step(step), now=request.received_at
        )
        return _UPDATES[update]


def _images_of_step(step: Information) -> int | None:
    """None where the step names no series at all: each update says only what changed."""
    if not has_sequence(step, "PerformedSeriesSequence"):
        return None
    series = items_of(step, "PerformedSeriesSequence")
    return _ct_images(image for each in series for image in items_of(each, "ReferencedImageSequence"))


def _ct_images(references: Iterable[Information]) -> int:
    uids = {
        uid_of(reference, "ReferencedSOPInstanceUID")
        for reference in references
        if uid_of(reference, "ReferencedSOPClassUID") in ACCEPTED_SOP_CLASSES
    }
    return len(uids - {None})


def _missing(what: str) -> Answer:
    return Answer(status=Status.MISSING_ATTRIBUTE, comment=f"{what} is missing or is no UID")
