"""QIDO-RS (PS3.18 10.6): the catalogue and the headers of stored files, as results of a search.

Names and ids of patients are in no database. A search by them reads one file of each study, the newest studies first,
and stops where it has looked at many: then it says so.
"""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from pydicom import Dataset, dcmread

from ichd.domain.errors import Transient
from ichd.store.catalogue import Catalogue, CataloguedInstance, CataloguedSeries, CataloguedStudy
from ichd.store.criteria import Criteria
from ichd.vision.parsed import PARSE_ERRORS
from ichd.web.dicomweb.attributes import RETURNED, Level, tag_of
from ichd.web.dicomweb.model import Json, element, to_json, without_long_values
from ichd.web.dicomweb.query import Query, date_range

#: Most files that one search opens to find a patient, about a third of a millisecond each.
_MOST_LOOKS = 500
_PAGE = 100
_RANGES = frozenset({"PatientBirthDate", "StudyTime"})


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Something that was found: the deepest part that is set is the result."""

    sample: CataloguedInstance
    study: CataloguedStudy | None
    series: CataloguedSeries | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """The answer to a search."""

    results: list[Json]
    #: Sentences for the header Warning.
    warnings: list[str]


def search(catalogue: Catalogue, query: Query, *, described: Sequence[Level], root: str) -> Found:
    """What matches; attributes of the `described` levels are returned, and addresses under `root`."""
    warnings = [f"ignored, since nothing is found by it: {', '.join(query.ignored)}"] if query.ignored else []
    pages = _pages(catalogue, query)
    if query.patterns:
        hits, is_cut = _read_through(catalogue, pages, query)
        if is_cut:
            warnings.append(
                f"the newest {_MOST_LOOKS} results were looked at for a patient; narrow the search by StudyDate, "
                "AccessionNumber or a UID"
            )
    else:
        hits = pages(query.limit + 1, query.offset)
    if len(hits) > query.limit:
        warnings.append("there are more results; ask with offset for the next page")
    hits = hits[: query.limit]
    if query.level is Level.INSTANCE and len(described) > 1:
        hits = _placed(catalogue, query, hits)
    _bring(catalogue, hits)
    results = []
    unreadable = 0
    for hit in hits:
        header = _header(hit.sample, _wanted(query, described))
        unreadable += header is None and hit.sample.dropped_at is None
        # Long values are for the metadata of an image, which give their addresses; here they would fill the memory.
        slim = without_long_values(header or Dataset())
        results.append(_result(hit, slim, described=described, root=root))
    if unreadable:
        warnings.append(f"{unreadable} stored files are missing or damaged; their attributes are left out")
    return Found(results=results, warnings=warnings)


def _pages(catalogue: Catalogue, query: Query) -> Callable[[int, int], list[Hit]]:
    criteria = query.criteria

    def studies(limit: int, offset: int) -> list[Hit]:
        found = catalogue.studies(criteria, limit=limit, offset=offset)
        return [Hit(sample=study.sample, study=study, series=None) for study in found]

    def series(limit: int, offset: int) -> list[Hit]:
        found = catalogue.series(criteria, limit=limit, offset=offset)
        return [Hit(sample=each.sample, study=each.study, series=each) for each in found]

    def instances(limit: int, offset: int) -> list[Hit]:
        found = catalogue.instances(criteria, limit=limit, offset=offset)
        return [Hit(sample=each, study=None, series=None) for each in found]

    return {Level.STUDY: studies, Level.SERIES: series, Level.INSTANCE: instances}[query.level]


def _read_through(catalogue: Catalogue, pages: Callable[[int, int], list[Hit]], query: Query) -> tuple[list[Hit], bool]:
    """One result more than the page holds, where there is one, and whether the search stopped before the end."""
    tags = tuple(tag_of(keyword) for keyword in query.patterns)
    matched: list[Hit] = []
    looked = 0
    while len(matched) <= query.offset + query.limit and looked < _MOST_LOOKS:
        page = pages(_PAGE, looked)
        looked += len(page)
        _bring(catalogue, page)
        for hit in page:
            header = _header(hit.sample, tags)
            if header is not None and all(_matches(header, *pattern) for pattern in query.patterns.items()):
                matched.append(hit)
        if len(page) < _PAGE:
            return matched[query.offset :], False
    is_cut = len(matched) <= query.offset + query.limit and bool(pages(1, looked))
    return matched[query.offset :], is_cut


def _bring(catalogue: Catalogue, hits: Sequence[Hit]) -> None:
    """Fetch what lies elsewhere; what can't be had just now is one of the files that are missing, and said so."""
    with suppress(Transient):
        catalogue.bring([hit.sample for hit in hits])


def _matches(header: Dataset, keyword: str, pattern: str) -> bool:
    """Wildcard matching without regard to case, ranges of dates and times (PS3.4 C.2.2.2)."""
    try:
        value = str(header.get(keyword, "") or "").strip()
    except PARSE_ERRORS:
        return False
    if keyword in _RANGES:
        return bool(value) and _in_range(keyword, value, pattern)
    wanted = "".join({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in pattern)
    # A name may have ideographic and phonetic forms: each is a name (PS3.5 6.2.1).
    forms = [value, *value.split("=")] if keyword.endswith("Name") else [value]
    return any(re.fullmatch(wanted, form.strip("^ "), re.IGNORECASE | re.DOTALL) for form in forms)


def _in_range(keyword: str, value: str, pattern: str) -> bool:
    if keyword == "StudyTime":
        first, dash, last = pattern.replace(":", "").partition("-")
        last = last if dash else first
        # Shorter times stand for all that they begin: 12 is any time from twelve to one.
        return value >= first and (not last or value[: len(last)] <= last)
    first, last = date_range(keyword, pattern)
    return (first or value) <= value <= (last or value)


def _placed(catalogue: Catalogue, query: Query, hits: Sequence[Hit]) -> list[Hit]:
    """The same images with their series and studies."""
    uids = sorted({hit.sample.facts.series_instance_uid for hit in hits})
    series: dict[tuple[str, str], CataloguedSeries] = {}
    for start in range(0, len(uids), _PAGE):
        criteria = Criteria(study_uids=query.criteria.study_uids, series_uids=uids[start : start + _PAGE])
        for each in catalogue.series(criteria, limit=10 * _PAGE):
            series[each.study.study_instance_uid, each.series_instance_uid] = each
    placed = []
    for hit in hits:
        found = series.get((hit.sample.facts.study_instance_uid, hit.sample.facts.series_instance_uid))
        placed.append(Hit(sample=hit.sample, study=found.study if found else None, series=found))
    return placed


def _wanted(query: Query, described: Sequence[Level]) -> tuple[int, ...] | None:
    """Tags to read from a file; None for all."""
    if query.include_all:
        return None
    return (*(tag_of(keyword) for level in described for keyword in RETURNED[level]), *sorted(query.include))


def _header(instance: CataloguedInstance, tags: Sequence[int] | None) -> Dataset | None:
    """What a file says before its pixels; None where it is dropped, missing or damaged."""
    if instance.dropped_at is not None:
        return None
    try:
        wanted = None if tags is None else list(tags)
        return dcmread(instance.path, stop_before_pixels=True, specific_tags=wanted)
    except (OSError, *PARSE_ERRORS):
        return None


def _result(hit: Hit, header: Dataset, *, described: Sequence[Level], root: str) -> Json:
    facts = hit.sample.facts
    result = to_json(header)
    address = f"{root}/studies/{facts.study_instance_uid}"
    result |= element("StudyInstanceUID", facts.study_instance_uid)
    if described[0] is not Level.STUDY:
        address += f"/series/{facts.series_instance_uid}"
        result |= element("SeriesInstanceUID", facts.series_instance_uid)
    if Level.STUDY in described and hit.study is not None:
        if "AccessionNumber" not in header:
            result |= element("AccessionNumber", *filter(None, [hit.study.accession_number]))
        result |= element("NumberOfStudyRelatedSeries", hit.study.series)
        result |= element("NumberOfStudyRelatedInstances", hit.study.instances)
        result |= element("ModalitiesInStudy", *filter(None, hit.study.modalities))
        result |= element("SOPClassesInStudy", *hit.study.sop_classes)
    if Level.SERIES in described and hit.series is not None:
        result |= element("NumberOfSeriesRelatedInstances", hit.series.instances)
    if described[0] is Level.INSTANCE:
        address += f"/instances/{facts.sop_instance_uid}"
        result |= element("SOPClassUID", facts.sop_class_uid) | element("SOPInstanceUID", facts.sop_instance_uid)
        result |= element("AvailableTransferSyntaxUID", facts.transfer_syntax_uid)
    if hit.sample.dropped_at is not None:
        result = _known(hit, described) | result
    dropped = _dropped(hit, described[0])
    # Of several the least available one counts (PS3.4 C.4.1.1.3.2); what can't be had has no address (PS3.18 10.6.3).
    result |= element("InstanceAvailability", "UNAVAILABLE" if dropped else "ONLINE")
    if not dropped:
        result |= element("RetrieveURL", address)
    return dict(sorted(result.items()))


def _dropped(hit: Hit, level: Level) -> bool:
    """Whether anything of a result is not here any more, so that it can't be retrieved as a whole."""
    if level is Level.INSTANCE:
        return hit.sample.dropped_at is not None
    part = hit.study if level is Level.STUDY else hit.series
    return part is not None and part.dropped > 0


def _known(hit: Hit, described: Sequence[Level]) -> Json:
    """What the database knows of an image without its file; who the patient is, is not among it."""
    facts = hit.sample.facts
    of_level: dict[Level, dict[str, object]] = {
        Level.STUDY: {"StudyDate": facts.study_datetime[:8], "StudyTime": facts.study_datetime[8:]},
        Level.SERIES: {
            "Modality": facts.modality,
            "SeriesDescription": facts.series_description,
            "SeriesNumber": facts.series_number,
            "BodyPartExamined": facts.body_part_examined,
        },
        Level.INSTANCE: {"InstanceNumber": facts.instance_number, "Rows": facts.rows, "Columns": facts.columns},
    }
    known: Json = {}
    for level in described:
        for keyword, value in of_level[level].items():
            known |= element(keyword, *([] if value in {None, ""} else [value]))
    return known
