"""What goes wrong: each fault strikes, lasts a while, and is healed."""

import random
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from tests.benchmarks.besieged import Installation

_JUMPS_S = (-3600, -60, -5, 5, 60, 3600)
Fault = Callable[[], None]


class Faults:
    """One fault after the other; counted by name."""

    def __init__(self, installation: Installation, chance: random.Random) -> None:
        self._it = installation
        self._chance = chance
        self.injected: Counter[str] = Counter()

    def run(self, *, seconds: float) -> None:
        """Inject faults for so long, each once at least, and leave everything healed."""
        kinds: list[tuple[int, Fault]] = [
            (4, self._kill_one),
            (1, self._kill_all),
            (2, self._destination_outage),
            (2, self._disk_full),
        ]
        if self._it.clocks_can_jump:
            kinds.append((2, self._clock_jump))
        if self._it.server is not None:
            kinds += [(2, self._database_restart), (1, self._database_crash)]
            kinds += [(2, self._partition), (1, self._connections_cut)]
        weights = [weight for weight, _ in kinds]
        # Each once, however long that takes; then as chance has it.
        planned = self._chance.sample([fault for _, fault in kinds], len(kinds))
        ends = time.monotonic() + seconds
        while planned or time.monotonic() < ends:
            fault = planned.pop() if planned else self._chance.choices([f for _, f in kinds], weights)[0]
            fault()
            self.injected[fault.__name__.strip("_")] += 1
            self._wait(1.0, 5.0)
        self._it.right_clocks()

    def _wait(self, shortest_s: float, longest_s: float) -> None:
        ends = time.monotonic() + self._chance.uniform(shortest_s, longest_s)
        while time.monotonic() < ends:
            for role in self._it.roles:
                role.restart_if_dead()
            time.sleep(0.1)

    def _kill_one(self) -> None:
        role = self._chance.choice(self._it.roles)
        role.kill()
        self.injected[f"killed_{role.name.partition('-')[0]}"] += 1

    def _kill_all(self) -> None:
        """The machine loses its power, but for its disk."""
        for role in self._it.roles:
            role.kill()

    def _destination_outage(self) -> None:
        destination = self._chance.choice(self._it.destinations)
        destination.go()
        self._wait(2.0, 8.0)
        destination.come()

    def _disk_full(self) -> None:
        ballast = self._it.disk / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 20))
        self._wait(2.0, 6.0)
        ballast.unlink()

    def _clock_jump(self) -> None:
        self._it.set_clocks(self._chance.choice(_JUMPS_S), self._chance)

    def _database_restart(self) -> None:
        if self._it.server is not None:
            self._it.server.restart()

    def _database_crash(self) -> None:
        if self._it.server is not None:
            self._it.server.crash()
            self._wait(0.5, 4.0)
            self._it.server.start()

    def _partition(self) -> None:
        """Longer than a lease now and then, so that others take over what the workers behind it still do."""
        if self._it.wire is not None:
            self._it.wire.stall()
            self._wait(2.0, 12.0)
            self._it.wire.flow()

    def _connections_cut(self) -> None:
        if self._it.wire is not None:
            self._it.wire.cut()
