"""From a question to images in the spool: what is missing is fetched, what is here is not fetched twice.

Nothing remembers a pull but the images that it brought: the next one asks anew what there is, and goes on from there.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

import structlog

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.intake.ask.errand import Errand, Retriever, Tally, Wanted
from ichd.intake.ask.find import FoundStudy, StudyQuery, find_ct_series, find_images, find_studies
from ichd.intake.ask.rows import Archive
from ichd.store.held import Holdings

_log = structlog.get_logger(__name__)

#: Body Part Examined of heads; an archive that leaves it out may have one.
_HEADS = ("HEAD", "BRAIN", "SKULL")
#: What will be no better with the next study.
_HOPELESS = frozenset(
    {
        Reason.SOURCE_UNREACHABLE,
        Reason.SOURCE_REJECTED,
        Reason.SOURCE_REFUSED,
        Reason.MOVE_DESTINATION_UNKNOWN,
    }
)
_POLL_S = 0.2


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What came of an errand."""

    errand: Errand
    #: Images that are here now and were not before.
    came: int
    #: Images that the source has and we still have not.
    missing: int
    #: Why, with how many.
    troubles: Mapping[Reason, int]
    #: The source's trouble as a whole, with numbers.
    detail: str = ""


class Pull:
    """Asks one source, and fetches from it."""

    def __init__(self, archive: Archive, retriever: Retriever, holdings: Holdings, *, settle_s: float = 5.0) -> None:
        self._archive = archive
        self._retriever = retriever
        self._holdings = holdings
        #: So long must nothing more have arrived before what is missing counts as missing.
        self._settle_s = settle_s

    def look(self, query: StudyQuery, *, since: datetime | None = None, priors: int = 0) -> list[Errand]:
        """What the source has of what is meant, and of each patient at most so many earlier CT studies of the head.

        `since` is read off the archive's clock: studies carry a time of day and seldom a zone.

        Raises:
            Transient, Permanent: the source or the database does not answer.
        """
        meant = [study for study in find_studies(self._archive, query) if since is None or _is_since(study, since)]
        errands = {study.study_uid: self._errand(study, prior=False) for study in meant}
        for study in meant if priors else ():
            for earlier in self._priors_of(study, priors):
                if earlier.study_uid not in errands:
                    errands[earlier.study_uid] = self._errand(earlier, prior=True)
        return [errand for errand in errands.values() if errand.images or errand.unnamed]

    def fetch(self, errands: Iterable[Errand], tell: Callable[[int], None]) -> Iterator[Fetched]:
        """Fetch what is missing, study by study; `tell` is told how many images more have come.

        Raises:
            SettingsError: the certificates of the source can't be used.
            Transient: the database does not answer.
        """
        over: Transient | Permanent | None = None
        for errand in errands:
            tally = Tally(tell)
            error = over
            if errand.wanted and over is None:
                try:
                    self._retriever.retrieve(errand.study.study_uid, errand.wanted, tally)
                except (Transient, Permanent) as trouble:
                    error = trouble
                    over = trouble if trouble.reason in _HOPELESS else None
            missing = self._missing(errand, settle_s=0.0 if over else self._settle_s)
            fetched = _account(errand, missing, tally.troubles, error, otherwise=self._retriever.otherwise)
            _log.info(
                "study_pulled",
                study=errand.study.study_uid,
                images=errand.images,
                came=fetched.came,
                missing=fetched.missing,
                reasons=sorted(map(str, fetched.troubles)),
            )
            yield fetched

    def _errand(self, study: FoundStudy, *, prior: bool) -> Errand:
        wanted: list[Wanted] = []
        images = unnamed = 0
        for series in find_ct_series(self._archive, study.study_uid):
            uids, others = find_images(self._archive, study.study_uid, series.series_uid)
            if not uids and not others:
                unnamed += series.images or 0
            images += len(uids)
            held = self._holdings.held(uids)
            if missing := tuple(uid for uid in uids if uid not in held):
                whole = not held and not others
                wanted.append(Wanted(series_uid=series.series_uid, images=missing, whole=whole))
        return Errand(study=study, prior=prior, images=images, unnamed=unnamed, wanted=tuple(wanted))

    def _priors_of(self, study: FoundStudy, most: int) -> list[FoundStudy]:
        """Earlier CT studies of the head, newest first; none where the patient has no number or the study no date."""
        if not study.patient_id or not study.date:
            return []
        query = StudyQuery(patient_id=study.patient_id, last_date=study.date)
        found: list[FoundStudy] = []
        for other in find_studies(self._archive, query):
            earlier = (other.date, other.time) < (study.date, study.time) and other.study_uid != study.study_uid
            # The same number given out by two hospitals is two patients.
            same_issuer = not (other.issuer and study.issuer) or other.issuer == study.issuer
            if earlier and other.date and same_issuer and self._shows_head(other):
                found.append(other)
            if len(found) == most:
                break
        return found

    def _shows_head(self, study: FoundStudy) -> bool:
        parts = [series.body_part for series in find_ct_series(self._archive, study.study_uid)]
        return any(not part or any(head in part for head in _HEADS) for part in parts)

    def _missing(self, errand: Errand, *, settle_s: float) -> int:
        """How many of the wanted images are not here, once nothing more arrives: the listener may be writing still."""
        wanted = [uid for each in errand.wanted for uid in each.images]
        missing = len(wanted) - len(self._holdings.held(wanted))
        deadline = time.monotonic() + settle_s
        while missing and time.monotonic() < deadline:
            time.sleep(_POLL_S)
            left = len(wanted) - len(self._holdings.held(wanted))
            if left < missing:
                missing, deadline = left, time.monotonic() + settle_s
        return missing


def _account(
    errand: Errand,
    missing: int,
    troubles: Mapping[Reason, int],
    error: Transient | Permanent | None,
    *,
    otherwise: Reason,
) -> Fetched:
    """Every missing image has a reason: its own, else the source's, else that of the way it was to come."""
    why = Counter(troubles)
    unexplained = missing - why.total()
    if unexplained > 0:
        why[error.reason if error is not None else otherwise] += unexplained
    if errand.unnamed:
        why[Reason.SOURCE_CONFUSED] += errand.unnamed
    return Fetched(
        errand=errand,
        came=errand.missing - missing,
        missing=missing + errand.unnamed,
        troubles=dict(why),
        detail=error.detail if error is not None and missing else "",
    )


def _is_since(study: FoundStudy, start: datetime) -> bool:
    """Whether the study began then or later; one whose time is not known may have, on the day that is."""
    day = f"{start:%Y%m%d}"
    if not study.date or study.date > day:
        return True
    # HH, HHMM and HHMMSS.FFF are all legal (PS3.5 6.2, TM); what is left out is read as late as it can be.
    time_of_day = study.time.split(".")[0][:6].ljust(6, "9")
    return study.date == day and time_of_day >= f"{start:%H%M%S}"
