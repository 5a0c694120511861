"""Who gets in at the web door, and under which names, by the settings."""

import ssl
from datetime import timedelta

from ichd.app.clock import Clock
from ichd.app.storage import Storage
from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import UserError
from ichd.domain.role import Role
from ichd.settings import OidcSettings, WebSettings
from ichd.store.audit import Audit
from ichd.store.sessions import Lifetimes, Sessions
from ichd.web import Entry
from ichd.web.access.accounts import Accounts
from ichd.web.access.provider import Provider, ProviderConfig
from ichd.web.access.standing import Standing, Standings

_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def accounts_of(web: WebSettings) -> Accounts | None:
    """Who gets in, where anybody is asked.

    Raises:
        UserError: a secret is no hash of ours.
    """
    if not web.account and web.oidc is None:
        return None
    return Accounts({account.name: account.secret for account in web.account})


def entry_of(web: WebSettings, storage: Storage, clock: Clock) -> Entry:
    """Who gets in, and under which names.

    Raises:
        UserError: an account's secret is no hash of ours.
    """
    audit = Audit(storage.engine)

    def note(outcome: AuditOutcome, account: str, address: str) -> None:
        event = AuditEvent.LOG_IN
        audit.record(at=clock(), event=event, outcome=outcome, actor=account, address=address, subject={})

    def tell(event: AuditEvent, account: str, address: str, subject: dict[str, str]) -> None:
        outcome = AuditOutcome.SUCCESS
        audit.record(at=clock(), event=event, outcome=outcome, actor=account, address=address, subject=subject)

    lifetimes = Lifetimes(idle=timedelta(minutes=web.idle_min), absolute=timedelta(hours=web.session_h))
    return Entry(
        accounts=accounts_of(web),
        standings=_standings(web),
        provider=_provider(web.oidc) if web.oidc else None,
        sessions=Sessions(storage.engine, lifetimes),
        note=note,
        tell=tell,
        hosts=(web.host, *web.hosts),
        any_address=web.host in _EVERY_INTERFACE,
        behind_proxy=web.behind_tls,
    )


def _standings(web: WebSettings) -> Standings:
    by_account = {each.name: Standing(role=each.role, stores=each.stores) for each in web.account}
    return Standings(by_account, names_from=None if web.names == "nobody" else Role(web.names))


def _provider(oidc: OidcSettings) -> Provider:
    """Raises UserError where a file of the settings can't be read."""
    secret = oidc.client_secret
    try:
        if oidc.client_secret_file is not None:
            secret = oidc.client_secret_file.read_text(encoding="utf-8").strip()
        trust = ssl.create_default_context(cafile=oidc.ca) if oidc.ca is not None else None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"web.oidc: client_secret_file or ca can't be read ({error}); correct the path") from None
    return Provider(
        ProviderConfig(
            issuer=oidc.issuer,
            client_id=oidc.client_id,
            client_secret=secret,
            name_claim=oidc.name_claim,
            role_claim=oidc.role_claim,
            roles=oidc.roles,
            scopes=oidc.scopes,
            label=oidc.label,
            trust=trust,
        )
    )
