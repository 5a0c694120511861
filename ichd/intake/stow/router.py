"""The two addresses of the STOW-RS door."""

from collections.abc import Callable
from datetime import datetime

from fastapi import APIRouter, Request, Response

from ichd.intake.counter import Counter
from ichd.intake.feedback.key_objects import KeyObjects
from ichd.intake.stow.door import StowConfig, StowDoor


def stow_router(
    config: StowConfig,
    counter: Counter,
    *,
    clock: Callable[[], datetime],
    account_of: Callable[[Request], str],
    key_objects: KeyObjects | None = None,
) -> APIRouter:
    """Routes for the web application, which knows who may come in; `account_of` names them, or is empty.

    With `key_objects`, readers' words come in as well.
    """
    door = StowDoor(config, counter, clock=clock, account_of=account_of, key_objects=key_objects)
    router = APIRouter(prefix="/dicom-web", tags=["dicomweb"])

    @router.post("/studies", summary="Store images (STOW-RS)")
    async def store(request: Request) -> Response:
        return await door.take(request, None)

    @router.post("/studies/{study_uid}", summary="Store images of one study (STOW-RS)")
    async def store_in_study(request: Request, study_uid: str) -> Response:
        return await door.take(request, study_uid)

    return router
