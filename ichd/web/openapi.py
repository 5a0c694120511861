"""The description of the API: what each answer is, who may ask, and how to say who asks."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from ichd.domain.role import Role
from ichd.web.access.browsers import cookie_name
from ichd.web.access.forms import HEADER
from ichd.web.answers import Problem

_PROBLEM = "#/components/schemas/Problem"
#: What any of them may answer, beside what its own routes say.
_ALWAYS = {
    "400": "The name that was called is none of ours, or the request can't be read.",
    "401": "An account is needed.",
    "403": "The account may not, or the request came from another page.",
    "422": "A value is not one that is taken here.",
    "429": "Too many wrong passwords came from this address.",
    "503": "The database does not answer; try again.",
}
_WITH_BODY = {"411": "The length of the body was not said.", "413": "The body is too long."}
_WAYS_IN = {
    "password": {"type": "http", "scheme": "basic", "description": "Name and password of an account."},
    "token": {"type": "http", "scheme": "bearer", "description": "A token that `ichd secret --token` made."},
    "browser": {
        "type": "apiKey",
        "in": "cookie",
        "name": cookie_name({"scheme": "https"}),
        "description": f"A browser that logged in; what changes something wants `{HEADER}` beside it.",
    },
}


class Described(FastAPI):
    """An application that says of its routes what they have in common."""

    def openapi(self) -> dict[str, Any]:
        """The description, made once."""
        if self.openapi_schema is None:
            described = super().openapi()
            parts = described.setdefault("components", {})
            parts.setdefault("schemas", {})["Problem"] = Problem.model_json_schema(
                ref_template="#/components/schemas/{model}"
            )
            parts["schemas"].update(parts["schemas"]["Problem"].pop("$defs", {}))
            for unused in ("HTTPValidationError", "ValidationError"):
                parts["schemas"].pop(unused, None)
            parts["securitySchemes"] = _WAYS_IN
            needs = _roles(self)
            for path, operations in described["paths"].items():
                if path.startswith(("/api/", "/dicom-web")):
                    for method, operation in operations.items():
                        _complete(operation, needs.get((path, method), Role.VIEWER))
        return self.openapi_schema or {}


def _complete(operation: dict[str, Any], needed: Role) -> None:
    operation["security"] = [{name: []} for name in _WAYS_IN]
    operation["description"] = f"{operation.get('description', '')}\n\nNeeds the role {needed}.".strip()
    answers = operation["responses"]
    for status, words in (_ALWAYS | (_WITH_BODY if "requestBody" in operation else {})).items():
        answers.setdefault(status, {"description": words})
    for status, answer in answers.items():
        if status >= "400":
            if status in _ALWAYS:
                answer["description"] = _ALWAYS[status]
            answer["content"] = {"application/json": {"schema": {"$ref": _PROBLEM}}}


def _roles(app: FastAPI) -> dict[tuple[str, str], Role]:
    """The role that each operation needs, where it says one."""
    return {
        (route.path, method.lower()): needs
        for route in app.routes
        if isinstance(route, APIRoute)
        for method in route.methods or ()
        for dependency in route.dependant.dependencies
        if (needs := getattr(dependency.call, "needs", None)) is not None
    }
