"""Log-ins as the audit trail should have them."""

import time
from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

import structlog

from ichd.domain.audit import AuditEvent, AuditOutcome
from ichd.domain.errors import Transient
from ichd.web.access.accounts import Judgement, Verdict

_log = structlog.get_logger(__name__)

#: How often the trail names the same account at the same address, and the same failing address, seconds.
_SUCCESS_EVERY_S = 3600.0
_FAILURE_EVERY_S = 60.0
_MOST_NOTED = 4096

#: Writes a log-in down: outcome, account, address; raises Transient where it can't.
NoteLogIn = Callable[[AuditOutcome, str, str], None]
#: Writes down what an account did at an address, and to what; raises Transient where it can't.
Tell = Callable[[AuditEvent, str, str, dict[str, str]], None]


class Diary:
    """Not one line for each of a viewer's requests."""

    def __init__(self, note: NoteLogIn) -> None:
        self._note = note
        self._lock = Lock()
        self._noted: OrderedDict[tuple[AuditOutcome, str, str], float] = OrderedDict()

    def write(self, judgement: Judgement, address: str) -> None:
        """Tell the trail of a log-in, unless it was told just now."""
        outcome = AuditOutcome.SUCCESS if judgement.verdict is Verdict.KNOWN else AuditOutcome.MINOR_FAILURE
        key = (outcome, judgement.account, address)
        pause_s = _SUCCESS_EVERY_S if outcome is AuditOutcome.SUCCESS else _FAILURE_EVERY_S
        now = time.monotonic()
        with self._lock:
            if now - self._noted.get(key, -pause_s) < pause_s:
                return
            self._noted[key] = now
            self._noted.move_to_end(key)
            while len(self._noted) > _MOST_NOTED:
                self._noted.popitem(last=False)
        _log.info("log_in_judged", verdict=judgement.verdict.value, account=judgement.account, address=address)
        try:
            self._note(*key)
        except Transient:
            # Nobody is shut out for the trail's sake: the log has it, and the next request tries again.
            _log.warning("log_in_not_recorded", account=judgement.account, address=address)
            with self._lock:
                self._noted.pop(key, None)
