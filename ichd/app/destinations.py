"""From settings to the ways out: what each destination gets, and how."""

from datetime import timedelta

from ichd.app.credentials import secret_of
from ichd.domain.delivery import ObjectKind
from ichd.domain.job import RetryPolicy
from ichd.pipeline.deliver import DeliveryPolicy, Route
from ichd.pipeline.proof import Confirm
from ichd.publish.cstore import CStore
from ichd.publish.mllp import Mllp, MllpPeer
from ichd.publish.peer import DimsePeer
from ichd.publish.sender import Sender
from ichd.publish.stow import Stow
from ichd.publish.web import WebPeer
from ichd.publish.webhook import Webhook
from ichd.report.hl7_letter import Addressee
from ichd.settings import DestinationSettings, Settings
from ichd.tls import ClientTls

#: Attempts are no end of a delivery; its age is.
_WITHOUT_END = 1_000_000_000
#: What needs heat maps.
_PICTURES = frozenset({"sc", "heat", "parametric"})


def delivery_policy(settings: Settings) -> DeliveryPolicy:
    """Where reports may go.

    Raises:
        UserError: a file that holds a secret of a destination can't be read.
    """
    return DeliveryPolicy(
        routes={each.name: route_of(each, settings) for each in settings.destination},
        allow_demo=settings.model.allow_demo,
    )


def route_of(destination: DestinationSettings, settings: Settings) -> Route:
    """One destination, as the pipeline knows it.

    Raises:
        UserError: a file that holds a secret of it can't be read.
    """
    return Route(
        sender=sender_of(destination, settings),
        wanted=_wanted(destination),
        addressee=Addressee(
            destination=destination.name, application=destination.application, facility=destination.facility
        ),
        ae_title=destination.ae_title or "",
        not_analysed=destination.not_analysed,
        confirm=Confirm(destination.confirm),
    )


def sender_of(destination: DestinationSettings, settings: Settings) -> Sender:
    """The way to one destination.

    Raises:
        UserError: a file that holds a secret of it can't be read.
    """
    tls = None if destination.tls is None else ClientTls(**destination.tls.model_dump())
    if destination.kind == "dimse":
        return CStore(
            peer=DimsePeer(
                name=destination.name,
                host=destination.host,
                port=destination.port,
                ae_title=destination.ae_title or "",
                calling_ae_title=settings.dicom.ae_title,
                timeout_s=destination.timeout_s,
                tls=tls,
            )
        )
    if destination.kind == "hl7":
        return Mllp(
            peer=MllpPeer(
                name=destination.name,
                host=destination.host,
                port=destination.port,
                timeout_s=destination.timeout_s,
                tls=tls,
            )
        )
    web = WebPeer(
        name=destination.name,
        url=destination.url or "",
        token=secret_of(destination.token, destination.token_file),
        account=destination.account,
        password=secret_of(destination.password, destination.password_file),
        timeout_s=destination.timeout_s,
        tls=tls,
    )
    if destination.kind == "stow":
        return Stow(peer=web)
    return Webhook(peer=web, secret=secret_of(destination.secret, destination.secret_file) or "")


def patience_with(destination: DestinationSettings, settings: Settings) -> RetryPolicy:
    """How its deliveries come back, and when they are given up."""
    worker = settings.worker
    return RetryPolicy(
        first_s=worker.retry_first_s,
        ceiling_s=worker.retry_ceiling_s,
        max_attempts=_WITHOUT_END,
        give_up_after=timedelta(hours=destination.give_up_after_h),
    )


def wants_pictures(settings: Settings) -> bool:
    """Whether couriers need heat maps."""
    return any(_PICTURES.intersection(each.sends) for each in settings.destination)


def _wanted(destination: DestinationSettings) -> tuple[ObjectKind, ...]:
    if destination.kind == "webhook":
        return (ObjectKind.JSON_IDENTIFIED if destination.identifiers else ObjectKind.JSON,)
    return tuple(map(ObjectKind, destination.sends))
