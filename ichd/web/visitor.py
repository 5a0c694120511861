"""Who asks, and whether they may."""

import ipaddress
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import HTTPException, Request

from ichd.domain.role import Role

_KEY = "ichd.visitor"


@dataclass(frozen=True, kw_only=True)
class Visitor:
    """Whoever asks."""

    #: Name of the account; empty where nobody is asked for one.
    account: str = ""
    role: Role = Role.VIEWER
    #: Whether the names of patients are shown.
    sees_names: bool = False
    #: Whether images may be stored (STOW-RS).
    stores: bool = False
    #: Goes with what a browser's session changes; empty for who has no session.
    form_token: str = ""

    def may_as(self, needed: Role) -> bool:
        """Whether the visitor may what `needed` may."""
        return self.role.may_as(needed)


#: On loopback, where nobody is asked: whoever sits at this machine can read the files, too.
AT_THIS_MACHINE = Visitor(role=Role.ADMIN, sees_names=True, stores=True)

#: Where accounts are asked for, who has not shown one yet.
STRANGER = Visitor()


def visitor_of(request: Request) -> Visitor:
    """Who asks, as the gate found."""
    visitor: Visitor = request.scope.get(_KEY, AT_THIS_MACHINE)
    return visitor


def account_of(request: Request) -> str:
    """Name of the account that asks; empty where no accounts are asked for."""
    return visitor_of(request).account


def sender_of(request: Request) -> str:
    """Name of the account that stores images; empty where no accounts are asked for.

    Raises:
        HTTPException: 403, it may not.
    """
    visitor = visitor_of(request)
    if not visitor.stores:
        raise HTTPException(
            HTTPStatus.FORBIDDEN, "Images are stored by accounts that may, and never by a browser that logged in."
        )
    return visitor.account


def address_of(request: Request) -> str:
    """Where the client sits."""
    return request.client.host if request.client else ""


def is_loopback(address: str) -> bool:
    """Whether a client sits on this machine."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def admit(scope: MutableMapping[str, Any], visitor: Visitor) -> None:
    """Note who asks, for `visitor_of`: the gate does."""
    scope[_KEY] = visitor


def was_admitted(scope: Mapping[str, Any]) -> bool:
    """Whether the gate knows who asks."""
    return scope.get(_KEY, STRANGER) is not STRANGER


def require(needed: Role) -> Callable[[Request], Visitor]:
    """A dependency of routes: the visitor, who may what `needed` may.

    Raises:
        HTTPException: 403, when asked by another.
    """

    def check(request: Request) -> Visitor:
        visitor = visitor_of(request)
        if not visitor.may_as(needed):
            raise HTTPException(
                HTTPStatus.FORBIDDEN,
                f"This needs the role {needed}; the account {visitor.account} is a {visitor.role}.",
            )
        return visitor

    # Said in the description of the API, too.
    check.needs = needed  # type: ignore[attr-defined]
    return check
