"""A reader's word, by `/api` for programs and by the form of the study page."""

from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal, Self

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator

from ichd.domain.errors import Refused
from ichd.domain.finding import CLASSES
from ichd.domain.review import Agreement, Review, ReviewSource
from ichd.store.reviews import Reviews
from ichd.web.visitor import account_of

#: Who reads where nobody logs in: this machine's users.
_NOBODY = "loopback"
#: The classes of the network, as a type that the description of the API shows.
ClassName = Literal["any", "intraparenchymal", "intraventricular", "subarachnoid", "subdural", "epidural"]
#: There is one kind at least where there is any: nothing is said of any, or that there is, or that there is nothing.
_ONE_TRUTH: list[JsonValue] = [
    {"not": {"required": ["any"]}},
    {"properties": {"any": {"const": True}}},
    {"additionalProperties": {"const": False}},
]


class GivenWord(BaseModel):
    """What a reader says of a finding."""

    model_config = ConfigDict(extra="forbid")

    agreement: Agreement = Field(description="Whether the reader found what the model found.")
    truth: dict[ClassName, bool] = Field(
        default_factory=dict,
        description="By kind of haemorrhage, what is really there, as far as the reader says.",
        json_schema_extra={"anyOf": _ONE_TRUTH},
    )

    @model_validator(mode="after")
    def _truth_is_one(self) -> Self:
        if self.truth.get("any") is False and any(self.truth.values()):
            raise ValueError("truth says that there is a kind of haemorrhage and none at all; correct one of them")
        return self

    revision: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Whose finding is meant; the newest that was read when left out."
    )


#: A choice of the form: not said, or said.
Choice = Literal["", "yes", "no"]


class PressedButton(BaseModel):
    """The form of a study's page: a button, and what is really there as far as somebody chose it."""

    model_config = ConfigDict(extra="forbid")

    #: The gate has looked at it.
    form_token: str = ""
    agreement: Agreement
    revision: int = Field(ge=1, le=1_000_000)
    truth_any: Choice = ""
    truth_intraparenchymal: Choice = ""
    truth_intraventricular: Choice = ""
    truth_subarachnoid: Choice = ""
    truth_subdural: Choice = ""
    truth_epidural: Choice = ""

    def word(self) -> GivenWord:
        """The same as a program would say it.

        Raises:
            HTTPException: 422, what is there contradicts itself.
        """
        said = {name: getattr(self, f"truth_{name}") for name in CLASSES}
        truth = {name: choice == "yes" for name, choice in said.items() if choice}
        try:
            return GivenWord.model_validate({"agreement": self.agreement, "truth": truth, "revision": self.revision})
        except ValidationError as error:
            sentence = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, f"{sentence[:1].upper()}{sentence[1:]}.") from None


class KeptWord(BaseModel):
    """What was kept; the same reader's next word on the study takes its place."""

    study_uid: str
    revision: int
    agreement: Agreement
    truth: dict[str, bool]
    reviewer: str = Field(description="Name of the account; loopback where nobody logs in.")
    received_at: datetime


def reviews_router(reviews: Reviews, clock: Callable[[], datetime]) -> APIRouter:
    """The two routes."""
    router = APIRouter()

    def keep(request: Request, study_uid: str, word: GivenWord) -> KeptWord:
        reviewer = account_of(request) or _NOBODY
        review = Review(
            agreement=word.agreement,
            source=ReviewSource.API,
            received_at=clock(),
            reviewer=reviewer,
            truth=_in_order(word.truth),
            key=reviewer,
        )
        try:
            revision = reviews.record(study_uid, review, revision=word.revision)
        except Refused as error:
            # The study may be there, with nothing found in it: the detail says which.
            raise HTTPException(HTTPStatus.NOT_FOUND, f"There is no finding to review: {error.detail}.") from None
        return KeptWord(
            study_uid=study_uid,
            revision=revision,
            agreement=review.agreement,
            truth=dict(review.truth),
            reviewer=reviewer,
            received_at=review.received_at,
        )

    @router.post(
        "/api/studies/{study_uid}/review",
        summary="Agree or disagree with the finding of a study",
        status_code=HTTPStatus.CREATED,
        tags=["studies"],
        responses={404: {"description": "No such study, or nothing was found in it that could be right or wrong."}},
    )
    def review_study(request: Request, study_uid: str, word: GivenWord) -> KeptWord:
        return keep(request, study_uid, word)

    @router.post("/studies/{study_uid}/review", include_in_schema=False)
    def press_button(
        request: Request,
        study_uid: str,
        pressed: Annotated[PressedButton, Form()],
    ) -> RedirectResponse:
        keep(request, study_uid, pressed.word())
        return RedirectResponse(f"/studies/{study_uid}#reviews", HTTPStatus.SEE_OTHER)

    return router


def _in_order(truth: Mapping[ClassName, bool]) -> dict[str, bool]:
    """In the order of the classes, whatever the order in which they were said."""
    return {name: is_there for name in CLASSES for said, is_there in truth.items() if said == name}
