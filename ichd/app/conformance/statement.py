"""The statement as a whole: what PS3.2 annex N asks for, in its order, as far as it concerns us."""

from collections.abc import Sequence
from dataclasses import dataclass

from ichd import __version__
from ichd.app.conformance.configuration import configuration
from ichd.app.conformance.document import Chapter
from ichd.app.conformance.facts import Activity, Context, accepted_contexts, activities
from ichd.app.conformance.networking import communication, networking
from ichd.app.conformance.objects import character_sets, objects
from ichd.app.conformance.overview import implementation_model, introduction, overview
from ichd.app.conformance.security import security
from ichd.app.conformance.web_services import Resource, resources, web_services
from ichd.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Statement:
    """A conformance statement, as facts for programs and as chapters for people."""

    version: str
    ae_title: str
    #: Presentation contexts of the listener.
    accepted: Sequence[Context]
    #: Associations that we open.
    activities: Sequence[Activity]
    #: Of DICOMweb.
    resources: Sequence[Resource]
    chapters: Sequence[Chapter]


def statement_of(settings: Settings) -> Statement:
    """The statement of an installation with these settings; it names no secret and no time.

    Raises:
        UserError: a file that holds a secret of a destination or source can't be read.
    """
    accepted, opened, web = accepted_contexts(), tuple(activities(settings)), resources()
    return Statement(
        version=__version__,
        ae_title=settings.dicom.ae_title,
        accepted=accepted,
        activities=opened,
        resources=web,
        chapters=(
            overview(settings, accepted, opened),
            introduction(),
            implementation_model(settings),
            networking(settings, accepted, opened),
            web_services(settings, web),
            communication(settings),
            configuration(settings),
            security(settings),
            objects(),
            character_sets(),
        ),
    )
