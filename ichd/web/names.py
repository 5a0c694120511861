"""Who is examined: read from a stored image when somebody asks who may know, never stored, never logged.

The database holds no name on purpose. What was read is kept in memory for some minutes, so that a worklist that renews
itself does not read two hundred files each time.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from threading import Lock

import structlog
from fastapi import APIRouter, HTTPException, Request
from pydicom import Dataset, dcmread
from pydicom.valuerep import PersonName

from ichd.domain.audit import AuditEvent
from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.store.catalogue import Catalogue, CataloguedInstance
from ichd.store.criteria import Criteria
from ichd.vision.parsed import PARSE_ERRORS
from ichd.web.access.diary import Tell
from ichd.web.answers import PatientAnswer
from ichd.web.api import NO_STUDY
from ichd.web.dicomweb.files import damaged, require_here
from ichd.web.visitor import Visitor, address_of, visitor_of

_log = structlog.get_logger(__name__)

_KEPT_S = 300.0
_MOST_KEPT = 1000
#: Looks that the trail has already; a session is over sooner.
_MOST_TOLD = 10_000
_READ = ["SpecificCharacterSet", "PatientName", "PatientID", "PatientBirthDate", "PatientSex"]
#: Who looks where nobody logs in: this machine's users.
_NOBODY = "loopback"


class Names:
    """Safe for any number of threads."""

    def __init__(self, catalogue: Catalogue, tell: Tell, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._catalogue = catalogue
        self._tell = tell
        self._clock = clock
        self._lock = Lock()
        #: None where there is nothing to be read, until somebody asks for that study alone.
        self._kept: OrderedDict[str, tuple[PatientAnswer | None, float]] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], None] = OrderedDict()

    def show(self, request: Request, study_uid: str) -> PatientAnswer:
        """Who is examined in a study, to somebody who may know; the trail learns of it once in a session.

        Raises:
            HTTPException: 403, who asks may not know; 404, there is no image of such a study.
            Permanent: IMAGES_DROPPED; FILE_DAMAGED.
            Transient: the trail, the database or the spool can't be reached: no look without a trace.
        """
        visitor = visitor_of(request)
        if not visitor.sees_names:
            raise HTTPException(
                HTTPStatus.FORBIDDEN, "This account does not see who is examined; web.names says who does"
            )
        patient = self._patient(study_uid)
        self._trace(visitor, address_of(request), study_uid)
        return patient

    def at_hand(self, request: Request, study_uid: str) -> PatientAnswer | None:
        """The same for a page, which is shown without where it is not to be had."""
        if not visitor_of(request).sees_names:
            return None
        try:
            return self.show(request, study_uid)
        except (HTTPException, Permanent, Transient) as error:
            _log.info("patient_not_shown", study_instance_uid=study_uid, why=type(error).__name__)
            return None

    def of_list(self, study_uids: Iterable[str]) -> dict[str, str]:
        """Names for the lines of a list, by study, as far as they are to be had; for those alone who may know them.

        The trail learns of looks at a study, not of each line that scrolled by: two hundred entries for every refresh
        would hide what an auditor looks for.
        """
        uids = list(dict.fromkeys(study_uids))
        found = self._known(uids)
        absent = [uid for uid in uids if uid not in found]
        try:
            for uid, sample in self._samples(absent).items():
                found[uid] = self._of_sample(uid, sample)
        except Transient:
            # The list is worth more than the names beside it; the next look tries again.
            pass
        return {uid: patient.name for uid, patient in found.items() if patient is not None and patient.name}

    def _patient(self, study_uid: str) -> PatientAnswer:
        known = self._known([study_uid]).get(study_uid)
        if known is not None:
            return known
        studies = self._catalogue.studies(Criteria(study_uids=(study_uid,)), limit=1)
        if not studies:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no image of a study with this Study Instance UID.")
        return self._look(study_uid, studies[0].sample)

    def _samples(self, study_uids: Sequence[str]) -> dict[str, CataloguedInstance]:
        """An image of each study that has one."""
        if not study_uids:
            return {}
        studies = self._catalogue.studies(Criteria(study_uids=tuple(study_uids)), limit=len(study_uids))
        return {study.study_instance_uid: study.sample for study in studies}

    def _of_sample(self, study_uid: str, sample: CataloguedInstance) -> PatientAnswer | None:
        """None where it is not to be had, which is kept as well: a list is renewed every few seconds."""
        try:
            return self._look(study_uid, sample)
        except (HTTPException, Permanent):
            self._keep(study_uid, None)
            return None

    def _look(self, study_uid: str, sample: CataloguedInstance) -> PatientAnswer:
        require_here([sample])
        self._catalogue.bring([sample])
        patient = _read(sample)
        self._keep(study_uid, patient)
        return patient

    def _known(self, study_uids: Iterable[str]) -> dict[str, PatientAnswer | None]:
        """What is in memory, and fresh."""
        now = self._clock()
        with self._lock:
            kept = {uid: self._kept[uid] for uid in study_uids if uid in self._kept}
        return {uid: patient for uid, (patient, until) in kept.items() if now < until}

    def _keep(self, study_uid: str, patient: PatientAnswer | None) -> None:
        with self._lock:
            self._kept[study_uid] = (patient, self._clock() + _KEPT_S)
            self._kept.move_to_end(study_uid)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)

    def _trace(self, visitor: Visitor, address: str, study_uid: str) -> None:
        look = (visitor.form_token or f"{visitor.account}@{address}", study_uid)
        with self._lock:
            if look in self._told:
                return
        self._tell(AuditEvent.PATIENT_SHOWN, visitor.account or _NOBODY, address, {"study_instance_uid": study_uid})
        with self._lock:
            self._told[look] = None
            while len(self._told) > _MOST_TOLD:
                self._told.popitem(last=False)


def names_router(names: Names) -> APIRouter:
    """The route of `/api`."""
    router = APIRouter(prefix="/api/studies/{study_uid}", tags=["studies"])

    @router.get(
        "/patient",
        summary="Who is examined, read from an image; each look is in the audit trail",
        description="Only roles from `web.names` on get an answer.",
        responses={**NO_STUDY, 410: {"description": "The images were dropped by retention."}},
    )
    def show_patient(request: Request, study_uid: str) -> PatientAnswer:
        return names.show(request, study_uid)

    return router


def _read(instance: CataloguedInstance) -> PatientAnswer:
    """From the head of the file alone: a name is worth no reading of an hour of frames.

    Raises:
        Permanent: FILE_DAMAGED.
        Transient: the disk fails.
    """
    try:
        head = dcmread(instance.path, stop_before_pixels=True, specific_tags=[*_READ])
        return PatientAnswer(
            name=_for_people(head.get("PatientName")),
            id=_text(head, "PatientID"),
            birth_date=_text(head, "PatientBirthDate"),
            sex=_text(head, "PatientSex"),
        )
    except FileNotFoundError:
        raise damaged(instance) from None
    except OSError as error:
        raise Transient(Reason.STORE_UNAVAILABLE, f"spool: {error.strerror}") from None
    except PARSE_ERRORS:
        # Without its cause, which may repeat the value that could not be read.
        raise damaged(instance) from None


def _for_people(name: PersonName | str | None) -> str:
    """Family name first, as lists are searched; the ideographic form where there is no alphabetic one."""
    if not isinstance(name, PersonName):
        return _printable(str(name or ""))
    # PS3.5 6.2.1: family, given, middle, prefix, suffix, in up to three groups.
    group = next((each for each in str(name).split("=") if each.strip("^ ")), "")
    family, given, middle, *_ = [part.strip() for part in (group + "^^^").split("^")]
    return _printable(", ".join(part for part in (family, " ".join(p for p in (given, middle) if p)) if part))


def _text(head: Dataset, keyword: str) -> str:
    value = head.get(keyword)
    return _printable("" if value is None else str(value)).strip()


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)[:256]
