"""The query of a search (PS3.18 8.3.4): what must match, what is wanted besides, which page."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, NoReturn

from fastapi import HTTPException
from pydicom.datadict import keyword_for_tag

from ichd.store.criteria import Criteria
from ichd.web.dicomweb.attributes import CATALOGUED, READ, Level, find_tag, up_to

#: Most results of a search over all studies; within one study a search is bounded by the study.
MOST_RESULTS = 1000
_MOST_NAMES = 200
#: SQL's integers end far above; no archive holds more.
_MOST_OFFSET = 1 << 40
_UID = re.compile(r"[0-9.]{1,64}")
_DATE = re.compile(r"([0-9]{8})?(-?)([0-9]{8})?")
#: Parameters of every request, that say nothing of what is searched.
_NEUTRAL = frozenset({"accept", "charset"})


@dataclass(frozen=True, kw_only=True)
class Query:
    """A search, understood."""

    level: Level
    criteria: Criteria
    #: Patterns by keyword, that must match what a file says.
    patterns: Mapping[str, str] = field(default_factory=dict)
    #: Tags wanted beside the usual ones.
    include: frozenset[int] = frozenset()
    include_all: bool = False
    limit: int
    offset: int = 0
    #: What of the query was left aside.
    ignored: tuple[str, ...] = ()


def parse_query(parameters: Sequence[tuple[str, str]], *, level: Level, path: Criteria) -> Query:
    """What is asked; `path` holds the UIDs of the resource's own address.

    Raises:
        HTTPException: 400, a name or a value can't be understood.
    """
    values: dict[str, list[str]] = {}
    for name, value in parameters:
        values.setdefault(name, []).append(value)
    ignored: list[str] = []
    bounded = bool(path.study_uids or path.series_uids)
    limit = _whole(values.pop("limit", None), "limit", default=MOST_RESULTS if not bounded else _MOST_OFFSET)
    offset = _whole(values.pop("offset", None), "offset", default=0)
    if values.pop("fuzzymatching", ["false"])[-1].lower() == "true":
        ignored.append("fuzzymatching")
    include, include_all = _included(values.pop("includefield", []))
    criteria = path
    patterns: dict[str, str] = {}
    for name, given in values.items():
        if name.lower() in _NEUTRAL:
            continue
        keyword = _keyword(name)
        value = ",".join(given)
        if keyword in up_to(level, CATALOGUED):
            criteria = replace(criteria, **_criterion(keyword, value, path)) if value.strip("*") else criteria
        elif keyword in up_to(level, READ):
            patterns |= {keyword: value} if value.strip("*") else {}
        else:
            ignored.append(name)
    return Query(
        level=level,
        criteria=criteria,
        patterns=patterns,
        include=include,
        include_all=include_all,
        limit=limit if bounded else min(limit, MOST_RESULTS),
        offset=offset,
        ignored=tuple(ignored),
    )


def _keyword(name: str) -> str:
    """The keyword that the name of a parameter stands for; of the parts of a sequence, `name` itself."""
    tags = [find_tag(part) for part in name.split(".")]
    if None in tags:
        _refuse(f"{name!r} is no parameter of a search and no attribute; write a keyword of PS3.6 or eight digits")
    return keyword_for_tag(tags[0] or 0) if len(tags) == 1 else name


def _criterion(keyword: str, value: str, path: Criteria) -> dict[str, Any]:
    match keyword:
        case "StudyInstanceUID":
            return {"study_uids": _uids(keyword, value, path.study_uids)}
        case "SeriesInstanceUID":
            return {"series_uids": _uids(keyword, value, path.series_uids)}
        case "SOPInstanceUID":
            return {"instance_uids": _uids(keyword, value, ())}
        case "SOPClassUID":
            return {"sop_class_uids": _uids(keyword, value, ())}
        case "AccessionNumber":
            return {"accession_number": value}
        case "StudyDate":
            return {"study_date": date_range(keyword, value)}
        case "SeriesNumber":
            return {"series_number": _integer(keyword, value)}
        case "InstanceNumber":
            return {"instance_number": _integer(keyword, value)}
        case _:
            return {"modalities": _codes(keyword, value)}


def _uids(keyword: str, value: str, of_path: Sequence[str]) -> tuple[str, ...]:
    """UIDs of a list (PS3.18 8.3.4.4); under an address with a UID of its own, those that are that one."""
    uids = tuple(part.strip() for part in re.split(r"[,\\]", value) if part.strip())
    if not uids or len(uids) > _MOST_NAMES or not all(_UID.fullmatch(uid) for uid in uids):
        _refuse(f"{keyword} takes up to {_MOST_NAMES} UIDs with commas between them")
    # A UID that no image can have, where the two exclude one another: it finds nothing.
    return uids if not of_path else tuple(uid for uid in uids if uid in of_path) or ("0",)


def _codes(keyword: str, value: str) -> tuple[str, ...]:
    codes = tuple(part.strip() for part in re.split(r"[,\\]", value))
    if len(codes) > _MOST_NAMES or not all(re.fullmatch("[A-Z0-9_ ]{1,16}", code) for code in codes):
        _refuse(f"{keyword} takes codes like CT, with commas between them")
    return codes


def date_range(keyword: str, value: str) -> tuple[str, str]:
    """First and last day of YYYYMMDD, YYYYMMDD-, -YYYYMMDD or YYYYMMDD-YYYYMMDD (PS3.4 C.2.2.2.5).

    Raises:
        HTTPException: 400, it is none of these.
    """
    found = _DATE.fullmatch(value.strip())
    if found is None or not (found[1] or found[3]) or (found[3] and not found[2]):
        _refuse(f"{keyword} takes YYYYMMDD, or a range: YYYYMMDD-YYYYMMDD, either side may be left out")
    first, dash, last = found[1] or "", found[2], found[3] or ""
    return (first, last) if dash else (first, first)


def _included(values: Sequence[str]) -> tuple[frozenset[int], bool]:
    names = [name for value in values for name in value.split(",") if name]
    tags = set()
    for name in names:
        if name.lower() == "all":
            continue
        tag = find_tag(name.split(".")[0])
        if tag is None or len(names) > _MOST_NAMES:
            _refuse(f"includefield names no attribute: {name!r}; write a keyword of PS3.6 or eight digits")
        tags.add(tag)
    return frozenset(tags), any(name.lower() == "all" for name in names)


def _whole(values: Sequence[str] | None, name: str, *, default: int) -> int:
    if values is None:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", values[-1]):
        _refuse(f"{name} takes a whole number, zero or more")
    return int(values[-1])


def _integer(keyword: str, value: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,9}", value.strip()):
        _refuse(f"{keyword} takes a whole number")
    return int(value)


def _refuse(sentence: str) -> NoReturn:
    raise HTTPException(HTTPStatus.BAD_REQUEST, sentence)
