"""What is wrong with a setting, as one sentence that names the mend."""

from collections.abc import Callable, Iterator
from difflib import get_close_matches
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ichd.settings.base import Section
from ichd.settings.sections import PREFIX, Settings


def known_variables() -> frozenset[str]:
    """Every variable that is a setting, in capitals."""
    return frozenset(f"{PREFIX}{'__'.join(path)}".upper() for path in key_paths())


def nearest(name: str) -> str:
    """The known SECTION__KEY that looks most like this one."""
    known = known_variables()
    asked = f"{PREFIX}{name.upper().removeprefix(PREFIX)}"
    return get_close_matches(asked, known, n=1, cutoff=0.0)[0].removeprefix(PREFIX)


def key_paths() -> Iterator[tuple[str, ...]]:
    """Every key that a variable can set: ("dicom", "port"), ("destination",), and whole sections as JSON."""
    for section, field in Settings.model_fields.items():
        yield (section,)
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            for key in field.annotation.model_fields:
                yield (section, key)


def explain(error: ValidationError, origin: Callable[[str], str]) -> str:
    """The first mistake as one sentence; `origin` says which source gave a SECTION__KEY."""
    errors = error.errors(include_url=False)
    # A mistyped key often also leaves a required one missing; the typo is what the person must see.
    first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
    keys = [str(part) for part in first["loc"]]
    name = ".".join(keys)
    where = origin("__".join(keys[:2]).upper())
    if first["type"] == "extra_forbidden":
        siblings = sorted(_fields_at(keys[:-1]))
        closest = get_close_matches(keys[-1], siblings, n=1, cutoff=0.0)
        return f"{where}: unknown key {name}; did you mean {'.'.join([*keys[:-1], *closest])}?"
    if first["type"] == "missing":
        return f"{where}: {name} is missing; add it"
    return f"{where}: {name}: {_plain(first)}"


def _plain(error: Any) -> str:
    message = str(error["msg"]).removeprefix("Value error, ")
    given = error.get("input")
    return f"{message} (given: {given!r})" if isinstance(given, str | int | float | bool) else message


def _fields_at(keys: list[str]) -> frozenset[str]:
    """Names of the fields of the model that `keys` lead to; list indices are skipped."""
    model: type[BaseModel] = Settings
    for key in keys:
        if key.isdigit():
            continue
        annotation = model.model_fields[key].annotation
        candidates = (annotation, *get_args(annotation))
        model = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return frozenset(model.model_fields)
