"""DICOMweb for who may not know who is examined: without the patient group, at any depth, and without whole files."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, NoReturn

from fastapi import HTTPException
from pydicom.datadict import tag_for_keyword

#: Of the patient (PS3.6): name, ids, birth date, comments.
PATIENT_GROUP = 0x0010


def without_patient(dataset: dict[str, Any]) -> dict[str, Any]:
    """A dataset in the DICOM JSON model, less the patient group; in sequences, too."""
    kept = {}
    for key, element in dataset.items():
        if int(key[:4], 16) == PATIENT_GROUP:
            continue
        if element.get("vr") == "SQ":
            items = [without_patient(item) for item in element.get("Value", [])]
            kept[key] = element | ({"Value": items} if items else {})
        else:
            kept[key] = element
    return kept


def refuse_patterns(keywords: Iterable[str]) -> None:
    """A search by the patient would tell who it is, a letter at a time.

    Raises:
        HTTPException: 403.
    """
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        if tag is None or tag >> 16 == PATIENT_GROUP:
            raise HTTPException(HTTPStatus.FORBIDDEN, "This account does not see who is examined, nor search by it.")


def refuse_files() -> NoReturn:
    """A file says who it is of.

    Raises:
        HTTPException: 403.
    """
    raise HTTPException(
        HTTPStatus.FORBIDDEN, "A file says who is examined, which this account does not see; frames are to be had."
    )
