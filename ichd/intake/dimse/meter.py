"""What the door counts of itself: answers by status, and how associations ended.

It counts in memory, which costs an image nothing that could be measured; `ichd.app.metering` writes it down now and
then, because the page that tells Prometheus is another process.
"""

import threading
from collections import Counter
from enum import StrEnum

from ichd.intake.dimse.command import CommandField
from ichd.intake.service import Operation

_COMMANDS: dict[int, str] = {
    CommandField.C_ECHO: "c_echo",
    **{operation: operation.name.lower() for operation in Operation},
}
#: Whatever numbers a peer makes up have one name.
_OTHER = "other"


class Ending(StrEnum):
    """How an association ended."""

    RELEASED = "released"
    #: By either side, or the connection broke.
    ABORTED = "aborted"
    #: Before it began.
    REJECTED = "rejected"


class Meter:
    """Safe for any number of threads; all counts begin with the process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accepted = 0
        self._endings: Counter[Ending] = Counter()
        self._answers: Counter[tuple[str, int]] = Counter()

    def accepted(self) -> None:
        """An association began."""
        with self._lock:
            self._accepted += 1

    def ended(self, how: Ending) -> None:
        """An association ended, or did not begin."""
        with self._lock:
            self._endings[how] += 1

    def answered(self, command_field: int, status: int) -> None:
        """A request got its answer."""
        with self._lock:
            self._answers[_COMMANDS.get(command_field, _OTHER), int(status)] += 1

    def figures(self) -> dict[str, float]:
        """All counts by the names of `ichd.store.doors`, without the door."""
        with self._lock:
            endings, answers, accepted = dict(self._endings), dict(self._answers), self._accepted
        told: dict[str, float] = {f"associations/{how.value}": endings.get(how, 0) for how in Ending}
        told["associations/open"] = accepted - sum(endings.get(how, 0) for how in (Ending.RELEASED, Ending.ABORTED))
        for (command, status), count in sorted(answers.items()):
            told[f"responses/{command}/0x{status:04x}"] = count
        return told
