"""Image facts as the database keeps them, and text that any database takes."""

import math
from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

from ichd.domain.study import InstanceFacts

#: Kept in columns of their own.
_IN_COLUMNS = frozenset({"study_instance_uid", "series_instance_uid", "sop_instance_uid", "sop_class_uid"})
_TUPLES = frozenset({"image_type", "image_position", "image_orientation", "pixel_spacing"})


def facts_to_json(facts: InstanceFacts) -> dict[str, Any]:
    """What is not in columns and not the default, in JSON types."""
    plain: dict[str, Any] = {}
    for field in fields(facts):
        value = getattr(facts, field.name)
        if field.name in _IN_COLUMNS or (field.default is not MISSING and value == field.default):
            continue
        stored = _storable(value)
        if stored is not None:
            plain[field.name] = stored
    return plain


def facts_from_json(
    plain: Mapping[str, Any],
    *,
    study_instance_uid: str,
    series_instance_uid: str,
    sop_instance_uid: str,
    sop_class_uid: str,
) -> InstanceFacts:
    """The facts that `facts_to_json` was given."""
    rest: dict[str, Any] = {name: tuple(value) if name in _TUPLES else value for name, value in plain.items()}
    return InstanceFacts(
        study_instance_uid=study_instance_uid,
        series_instance_uid=series_instance_uid,
        sop_instance_uid=sop_instance_uid,
        sop_class_uid=sop_class_uid,
        **rest,
    )


def storable_text(text: str) -> str:
    """Text without what PostgreSQL refuses: NUL, and surrogates that stand for undecodable bytes."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


def _storable(value: object) -> object:
    """None for numbers that JSON has no word for: to selection, an infinite position is as good as none."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, tuple):
        parts = [_storable(part) for part in value]
        return None if None in parts else parts
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
