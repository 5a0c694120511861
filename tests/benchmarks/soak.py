"""Hours of a bad day in minutes: senders that abort, repeat, come late and lie, and a receiver that is killed.

Listener and web door run as their own processes on one database. In the first three fifths of the time one of them is
killed (SIGKILL) every few seconds; in the rest they live, so that their memory can be watched. In the end every image
that was ever acknowledged must lie in the spool, whole and with its row, and the spool must hold as many files as there
are rows. The script ends with exit code 1 where that is not so, or where memory grows.
"""

import argparse
import hashlib
import json
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import psutil
from sqlalchemy import select, union_all

from ichd.domain.completeness import CompletenessPolicy
from ichd.domain.errors import Transient
from ichd.store.engine import migrate, open_database
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from ichd.store.tables import ConflictRow, InstanceRow
from ichd.store.transaction import reading
from tests.benchmarks.rogues import Ledger, Rogue
from tests.benchmarks.servers import ENVIRONMENT
from tests.peers.ports import free_port

SENDERS = 4
#: Share of the time in which processes are killed.
KILLING = 0.6
#: A loaded machine takes long to start a process, and one that is killed before it answers shows nothing.
START_PATIENCE_S = 120.0
#: An allocator's breathing; a leak of a kilobyte an image passes it within a minute.
GROWTH_MB = 20.0
_POLICY = CompletenessPolicy(quiet_period_s=0.5, interrupted_period_s=2.0, silent_period_s=10.0)


class Role:
    """A process of ichd that is started again whenever it is killed."""

    def __init__(self, name: str, command: list[str], log: Path, *, port: int) -> None:
        self.name = name
        self._port = port
        self._command = command
        self._log = log
        self.start()

    def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=ENVIRONMENT, stdout=log, stderr=log)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.start()

    def wait_until_up(self) -> None:
        """It takes connections; who does not within the patience is left to the figures."""
        deadline = time.monotonic() + START_PATIENCE_S
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=5.0).close()
            except OSError:
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)

    @property
    def rss_mb(self) -> float:
        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--quick", action="store_true", help="end within 60 s on two cores")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--database", help="URL of an empty PostgreSQL database; SQLite where it is left out")
    options = parser.parse_args()
    seconds = 40.0 if options.quick else options.minutes * 60
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".soak-") as scratch:
        figures = soak(Path(scratch), seconds=seconds, seed=options.seed, database=options.database)
    for name, value in figures.items():
        print(f"{name:<36}{value:g}")
    if options.json:
        print(json.dumps(figures))
    return int(bool(figures["lost"] or figures["files"] != figures["rows"] or figures["growth_mb"] > GROWTH_MB))


def soak(folder: Path, *, seconds: float, seed: int, database: str | None = None) -> dict[str, float]:
    """Run it; returns what is printed."""
    url = database or f"sqlite:///{folder / 'ichd.db'}"
    dicom_port, web_port = free_port(), free_port()
    command = _configure(folder, url, dicom_port, web_port)
    migrate(url)
    engine = open_database(url)
    spool = Spool(folder / "spool")
    studies = Studies(engine, spool)
    ledger, stop = Ledger(), threading.Event()
    ports = {"listen": dicom_port, "web": web_port}
    roles = [Role(name, [*command, name], folder / f"{name}.log", port=port) for name, port in ports.items()]
    for role in roles:
        role.wait_until_up()
    rogues = [Rogue(dicom_port=dicom_port, web_port=web_port, ledger=ledger, seed=seed + n) for n in range(SENDERS)]
    threads = [threading.Thread(target=rogue.run, args=(stop,)) for rogue in rogues]
    threads.append(threading.Thread(target=_close_studies, args=(studies, ledger, stop)))
    for thread in threads:
        thread.start()
    try:
        kills = _kill_now_and_then(roles, random.Random(seed), until=time.monotonic() + KILLING * seconds)
        settled, end = _watch(roles, seconds=(1 - KILLING) * seconds)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for role in roles:
            role.stop()
    never_acknowledged = studies.sweep_spool(older_than=timedelta(0), now=datetime.now(UTC) + timedelta(seconds=1))
    with reading(engine) as session:
        rows = union_all(select(InstanceRow.path, InstanceRow.sha256), select(ConflictRow.path, ConflictRow.sha256))
        stored = {row.sha256: row.path for row in session.execute(rows)}
    engine.dispose()
    files = [path for path in spool.root.rglob("*") if path.is_file() and path.parent != spool.root]
    return {
        "minutes": round(seconds / 60, 2),
        "acknowledged": len(ledger.acknowledged),
        "lost": sum(not _is_whole(spool, sha256, stored) for sha256 in ledger.acknowledged),
        "files": len(files),
        "rows": len(stored),
        "kills": kills,
        "never_acknowledged": never_acknowledged,
        "growth_mb": round(max(end[name] - settled[name] for name in settled), 1),
        **{f"rss_mb_{name}": round(mb, 1) for name, mb in end.items()},
        **{what.replace(" ", "_"): count for what, count in sorted(ledger.done.items())},
    }


def _configure(folder: Path, url: str, dicom_port: int, web_port: int) -> list[str]:
    (folder / "ichd.toml").write_text(
        f'[dicom]\nport = {dicom_port}\n[web]\nport = {web_port}\n[database]\nurl = "{url}"\n'
        f'[spool]\nurl = "{folder / "spool"}"\nhigh_watermark = 0.99\n[log]\nlevel = "warning"\n'
    )
    return [sys.executable, "-m", "ichd", "--config", str(folder / "ichd.toml")]


def _close_studies(studies: Studies, ledger: Ledger, stop: threading.Event) -> None:
    """What a worker's ticks do, so that late slices find closed studies."""
    while not stop.wait(0.25):
        try:
            for _ in studies.close_complete(_POLICY, now=datetime.now(UTC)):
                ledger.count("studies closed")
        except Transient:
            ledger.count("ticks postponed")


def _kill_now_and_then(roles: list[Role], chance: random.Random, *, until: float) -> int:
    kills = 0
    while (left := until - time.monotonic()) > 0:
        time.sleep(min(chance.uniform(2.0, 12.0), left))
        victim = chance.choice(roles)
        victim.kill()
        victim.wait_until_up()
        kills += 1
    return kills


def _watch(roles: list[Role], *, seconds: float) -> tuple[dict[str, float], dict[str, float]]:
    """Resident memory of each process once it has warmed up, and in the end."""
    time.sleep(seconds * 0.4)
    settled = {role.name: role.rss_mb for role in roles}
    time.sleep(seconds * 0.6)
    return settled, {role.name: role.rss_mb for role in roles}


def _is_whole(spool: Spool, sha256: str, stored: dict[str, str]) -> bool:
    path = stored.get(sha256)
    if path is None:
        return False
    with spool.locate(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256


if __name__ == "__main__":
    sys.exit(main())
