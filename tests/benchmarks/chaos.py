"""A day on which everything goes wrong, on both databases: in the end nothing is lost, doubled, or left open.

Listener, web door and two workers run as processes of their own; a scanner sends phantoms that can be read, a rogue
aborts, repeats, comes late and lies. Meanwhile roles are killed (SIGKILL), the database is restarted and crashed, the
workers' wire to it stalls for longer than a lease or breaks, destinations go away, the disk of spool (and SQLite) is
full, and wall clocks jump by up to an hour. Then all is healed, an operator retries what is dead (`ichd retry`), and
what must hold is looked at. Exit code 1 where it does not.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sqlalchemy import Engine, func, select

from ichd.domain.errors import Transient, UserError
from ichd.domain.study import StudyState
from ichd.store.engine import open_database
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from ichd.store.tables import StudyRow
from ichd.store.transaction import reading
from tests.benchmarks.besieged import Installation
from tests.benchmarks.faults import Faults
from tests.benchmarks.invariants import Verdict, examine
from tests.benchmarks.rogues import Ledger, Rogue
from tests.benchmarks.scanner import Scanner
from tests.peers.postgresql import PostgresqlServer

DATABASES = ("sqlite", "postgresql")
_SCANNER_RESTS_S = 2.0
_ROGUE_RESTS_S = 1.0
#: A healed installation finishes what it owes, however long that takes here; one that finishes nothing for so long is
#: stuck.
_PATIENCE_S = 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0, help="of faults, on each database")
    parser.add_argument("--quick", action="store_true", help="20 seconds of faults on each database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=DATABASES, action="append", help="both where it is left out")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    options = parser.parse_args()
    seconds = 20.0 if options.quick else options.minutes * 60
    figures: dict[str, dict[str, float]] = {}
    broken = False
    for database in options.database or DATABASES:
        with tempfile.TemporaryDirectory(prefix="ichd-chaos-") as folder:
            verdict, figures[database] = besiege(Path(folder), database, seconds=seconds, seed=options.seed)
        broken = broken or bool(verdict.broken)
        print(f"{database}: {verdict.broken or 'all holds'}")
        for name, value in figures[database].items():
            print(f"  {name:<36}{value:g}")
    if options.json:
        print(json.dumps(figures))
    return int(broken)


def besiege(folder: Path, database: str, *, seconds: float, seed: int) -> tuple[Verdict, dict[str, float]]:
    """One bad day; returns what was found after it, and what happened in it.

    Raises:
        PostgresqlAbsent: there is no PostgreSQL.
    """
    chance, ledger = random.Random(seed), Ledger()
    with ExitStack() as stack:
        server = None
        if database == "postgresql":
            # A folder of its own: whoever runs us may be root, and the server is not, nor may it enter what is root's.
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ichd-chaos-server-")))
            home.chmod(0o755)
            server = PostgresqlServer(home / "server")
            server.start()
            stack.callback(server.crash)
        it = stack.enter_context(Installation(folder, server))
        engine = open_database(it.url)
        stack.callback(engine.dispose)
        studies = Studies(engine, Spool(it.disk / "spool"))
        scanner = Scanner(folder / "phantom", port=it.dicom_port, ledger=ledger)
        faults = Faults(it, chance)
        _send_while(faults, it, scanner, ledger, seconds=seconds, seed=seed)
        began = time.monotonic()
        retried = _settle(it, studies, engine)
        settled_s = time.monotonic() - began
        it.stop()
        swept = studies.sweep_spool(older_than=timedelta(0), now=datetime.now(UTC) + timedelta(seconds=1))
        verdict = examine(
            engine,
            it.disk,
            {d.name: d.folder for d in it.destinations},
            acknowledged=ledger.acknowledged,
            sent_whole=scanner.sent,
            now=datetime.now(UTC),
        )
        with reading(engine) as session:
            states = session.execute(select(StudyRow.state, func.count()).group_by(StudyRow.state)).all()
            made_room = session.scalar(select(func.count()).where(StudyRow.images_dropped_at.is_not(None))) or 0
    happened: dict[str, float] = {f"fault_{name}": count for name, count in sorted(faults.injected.items())}
    happened |= {f"sent_{name.replace(' ', '_')}": count for name, count in sorted(ledger.done.items())}
    happened |= {f"studies_{state}": count for state, count in states}
    happened |= {
        "acknowledged": len(ledger.acknowledged),
        "phantoms": len(scanner.sent),
        "studies_that_made_room": made_room,
        "operator_retries": retried,
        "never_acknowledged_files_swept": swept,
        "settled_s": round(settled_s, 1),
    }
    return verdict, happened | vars(verdict)


def _send_while(
    faults: Faults, it: Installation, scanner: Scanner, ledger: Ledger, *, seconds: float, seed: int
) -> None:
    stop = threading.Event()
    rogue = Rogue(dicom_port=it.dicom_port, web_port=it.web_port, ledger=ledger, seed=seed)
    senders = [
        threading.Thread(target=scanner.run, args=(stop,), kwargs={"rest_s": _SCANNER_RESTS_S}),
        threading.Thread(target=rogue.run, args=(stop,), kwargs={"rest_s": _ROGUE_RESTS_S}),
    ]
    for sender in senders:
        sender.start()
    try:
        faults.run(seconds=seconds)
    finally:
        stop.set()
        # What a scanner has begun it finishes, so the roles must live.
        while any(sender.is_alive() for sender in senders):
            for role in it.roles:
                role.restart_if_dead()
            time.sleep(0.1)


def _settle(it: Installation, studies: Studies, engine: Engine) -> int:
    """Until every study has ended well, or nothing goes on; returns how often the operator had to retry one."""
    retried, fewest, gives_up_at = 0, sys.maxsize, time.monotonic() + _PATIENCE_S
    while time.monotonic() < gives_up_at:
        for role in it.roles:
            role.restart_if_dead()
        with suppress(Transient):
            for failed in studies.summaries(limit=1000, state=StudyState.FAILED):
                # Another role may have been quicker.
                with suppress(UserError):
                    studies.retry(failed.study_uid, now=datetime.now(UTC))
                    retried += 1
            with reading(engine) as session:
                well = (StudyState.REPORTED, StudyState.NOT_ANALYSED)
                left = session.scalar(select(func.count()).where(StudyRow.state.not_in(well))) or 0
            if not left:
                break
            if left < fewest:
                fewest, gives_up_at = left, time.monotonic() + _PATIENCE_S
        time.sleep(0.5)
    return retried


if __name__ == "__main__":
    sys.exit(main())
