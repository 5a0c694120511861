"""The error tree, to be read as a table of contents.

    IchdError
    ├── UserError            the person at the keyboard can mend it (exit code 2)
    │   └── SettingsError    in ichd.toml or the environment
    ├── IllegalTransition    a state table was violated: a defect of ours, never of the input
    ├── LeaseLost            this worker no longer owns the job that it works on
    ├── Transient            the same work may succeed later: the queue tries again with backoff
    └── Permanent            the same work can only fail again: the job is dead, with its reason
        ├── Refused          an instance that intake will not store
        └── NotAnalysable    a series or study that the model must not speak about

Every message is one sentence that names the mend where there is one. Only the queue retries.
"""

from ichd.domain.reason import Reason


class IchdError(Exception):
    """Root of everything this package raises on purpose."""


class UserError(IchdError):
    """A command, a path or a value that the person who gave it can correct."""


class SettingsError(UserError):
    """A key or value in ichd.toml, or in an ICHD_ environment variable, that can't be used."""


class IllegalTransition(IchdError):
    """A study or job was asked to move between states that the table does not connect."""


class LeaseLost(IchdError):
    """The lease of a job expired and someone else may own it; the result must be dropped."""


class CodedError(IchdError):
    """An error that ends where a user looks: a coded reason, and a detail with the numbers at hand."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason.meaning} ({detail})" if detail else reason.meaning)


class Transient(CodedError):
    """Trouble that may pass: a peer away, an association rejected, a database restarting."""


class Permanent(CodedError):
    """Trouble that will not pass by itself."""


class Refused(Permanent):
    """An instance is not stored; the sender is told so by a failure status."""


class NotAnalysable(Permanent):
    """The model must not speak about this series or study."""
