"""Who may do what at the web door."""

from enum import StrEnum


class Role(StrEnum):
    """What an account may do; each may all that those before it may."""

    #: Looks, and says whether a finding is right.
    VIEWER = "viewer"
    #: Also retries, and has studies read again.
    OPERATOR = "operator"
    #: Also sees who does what, and what the settings are.
    ADMIN = "admin"

    def may_as(self, needed: "Role") -> bool:
        """Whether this role may what `needed` may."""
        order = list(Role)
        return order.index(self) >= order.index(needed)
