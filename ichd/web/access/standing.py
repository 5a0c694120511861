"""What an account may, by the settings."""

from collections.abc import Mapping
from dataclasses import dataclass

from ichd.domain.role import Role
from ichd.web.visitor import Visitor


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What one account may."""

    role: Role = Role.VIEWER
    #: Store images by STOW-RS, with credentials on each request.
    stores: bool = True


class Standings:
    """What each account may; one that is not listed looks, and stores."""

    def __init__(
        self, by_account: Mapping[str, Standing] | None = None, *, names_from: Role | None = Role.OPERATOR
    ) -> None:
        """`names_from` is the least role that sees the names of patients; None where nobody does."""
        self._by_account = dict(by_account or {})
        self._names_from = names_from

    def program(self, account: str) -> Visitor:
        """Who sent credentials with a request."""
        standing = self._by_account.get(account, Standing())
        return self._visitor(account, standing.role, stores=standing.stores)

    def person(self, account: str, *, form_token: str, role: Role | None = None) -> Visitor:
        """Who logged in with a browser, as `role` where somebody else said so.

        A browser stores no images: whatever makes it send something must not be able to put a study into our list.
        """
        role = role or self._by_account.get(account, Standing()).role
        return self._visitor(account, role, form_token=form_token)

    def _visitor(self, account: str, role: Role, *, stores: bool = False, form_token: str = "") -> Visitor:
        sees_names = self._names_from is not None and role.may_as(self._names_from)
        return Visitor(account=account, role=role, sees_names=sees_names, stores=stores, form_token=form_token)
