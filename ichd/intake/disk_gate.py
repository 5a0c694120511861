"""The gate at the doors: shut from the high watermark of the spool's disk on, open again below the low one."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.domain.retention import Watermarks

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class DiskState:
    """How full the disk is, and what follows."""

    #: Share, 0 to 1.
    used: float
    is_shut: bool


class DiskGate:
    """Shared by the doors of a process and their threads.

    Each process has its own: those that looked at different moments may disagree while the disk is between its marks.
    A gate that was just made is open there. The disk is asked for each image: that takes two microseconds, and what was
    known half a second ago is five hundred megabytes old on a fast network.
    """

    def __init__(self, free_fraction: Callable[[], float], watermarks: Watermarks) -> None:
        self._free_fraction = free_fraction
        self.watermarks = watermarks
        self._is_shut = False
        self._turn = threading.Lock()

    def look(self) -> DiskState:
        """Ask the disk, and open or shut.

        Raises:
            Transient: the disk does not say.
        """
        used = 1 - self._free_fraction()
        is_shut = self.watermarks.is_shut(used, was_shut=self._is_shut)
        if is_shut != self._is_shut:
            self._turn_to(used, is_shut=is_shut)
        return DiskState(used=used, is_shut=is_shut)

    def require_open(self) -> None:
        """Let an image pass.

        Raises:
            Transient: DISK_LOW, the gate is shut; or the disk does not say.
        """
        state = self.look()
        if state.is_shut:
            low = self.watermarks.low
            raise Transient(Reason.DISK_LOW, f"{state.used:.1%} of the disk is used, less than {low:.1%} must be")

    def _turn_to(self, used: float, *, is_shut: bool) -> None:
        """Threads that saw the same say it once."""
        with self._turn:
            if self._is_shut is is_shut:
                return
            self._is_shut = is_shut
        if is_shut:
            _log.error("intake_shut", used=round(used, 3), opens_below=self.watermarks.low)
        else:
            _log.info("intake_open", used=round(used, 3))
