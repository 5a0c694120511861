"""How soon `ichd serve` takes images when it starts on a long queue.

As a script: `python -m tests.benchmarks.startup [--quick] [--json] [--starts N] [--database URL]`. Without a URL a new
SQLite database is filled, and a PostgreSQL of our own, where there is one. `--quick` queues 2,000 studies, not 100,000.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, text

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ichd.domain.errors import IchdError
from ichd.domain.job import JobKind, JobState
from ichd.domain.study import StudyState
from ichd.publish.echo import echo
from ichd.publish.peer import DimsePeer
from ichd.store.engine import migrate, open_database
from ichd.store.tables import JobRow, StudyRow
from tests.peers.ports import free_port
from tests.peers.postgresql import PostgresqlAbsent, running_postgresql

_IN_ONE_TRANSACTION = 10_000
_GIVE_UP_AFTER_S = 60.0
#: An accepted image is a C-STORE after a C-ECHO on the same loop; the latter leaves nothing behind.
_ASK_EVERY_S = 0.02


def queue_studies(url: str, count: int) -> None:
    """Add so many studies that wait to be read."""
    migrate(url)
    engine = open_database(url)
    begin = datetime.now(UTC) - timedelta(days=1)
    for first in range(1, count + 1, _IN_ONE_TRANSACTION):
        numbers = range(first, min(first + _IN_ONE_TRANSACTION, count + 1))
        studies = [
            {
                "id": number,
                "study_instance_uid": f"1.2.840.7.{number}",
                "accession_number": "",
                "study_datetime": "",
                "state": StudyState.READY,
                "received_at": begin,
                "last_instance_at": begin,
                "ready_at": begin,
            }
            for number in numbers
        ]
        jobs = [
            {
                "kind": JobKind.ANALYSE,
                "study_id": number,
                "revision": 1,
                "state": JobState.QUEUED,
                "run_at": begin,
                "order_at": begin,
                "owed_since": begin,
                "created_at": begin,
            }
            for number in numbers
        ]
        with engine.begin() as connection:
            connection.execute(insert(StudyRow), studies)
            connection.execute(insert(JobRow), jobs)
    if engine.dialect.name == "postgresql":
        with engine.begin() as connection:
            connection.execute(text("SELECT setval(pg_get_serial_sequence('study', 'id'), max(id)) FROM study"))
    engine.dispose()


def accepts_after_s(url: str, folder: Path) -> float:
    """From the start of the command to the first C-ECHO that is answered."""
    port = free_port()
    config = folder / "ichd.toml"
    config.write_text(
        f'[dicom]\nport = {port}\n[database]\nurl = "{url}"\n[web]\nport = {free_port()}\n'
        f'[spool]\nurl = "{folder}/spool"\nhigh_watermark = 1.0\n'
    )
    peer = DimsePeer(name="ichd", host="127.0.0.1", port=port, ae_title="ICHD", calling_ae_title="CT", timeout_s=5.0)
    with (folder / "serve.log").open("ab") as log:
        started = time.monotonic()
        serving = subprocess.Popen(
            [sys.executable, "-m", "ichd", "--config", str(config), "serve"],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        while time.monotonic() - started < _GIVE_UP_AFTER_S:
            try:
                echo(peer)
                return time.monotonic() - started
            except IchdError:
                time.sleep(_ASK_EVERY_S)
        raise TimeoutError("no answer; its log ends\n" + (folder / "serve.log").read_text()[-2000:])
    finally:
        os.killpg(serving.pid, signal.SIGKILL)
        serving.wait()


@contextmanager
def databases(folder: Path, url: str | None) -> Iterator[dict[str, str]]:
    """By their name."""
    if url is not None:
        yield {url.partition(":")[0]: url}
        return
    found = {"sqlite": f"sqlite:///{folder}/ichd.db"}
    with ExitStack() as stack:
        try:
            found["postgresql"] = stack.enter_context(running_postgresql(folder / "server"))
        except PostgresqlAbsent as absent:
            print(absent, file=sys.stderr)
        yield found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--database")
    given = parser.parse_args()
    queued = 2_000 if given.quick else 100_000
    with tempfile.TemporaryDirectory(prefix="ichd-startup-") as parent:
        folder = Path(parent)
        folder.chmod(0o755)
        figures: dict[str, object] = {"queued_studies": queued, "starts": given.starts, "accepts_after_s": {}}
        with databases(folder, given.database) as urls:
            for name, url in urls.items():
                queue_studies(url, queued)
                home = folder / name
                home.mkdir()
                times = [accepts_after_s(url, home) for _ in range(given.starts)]
                by_database = figures["accepts_after_s"]
                assert isinstance(by_database, dict)
                by_database[name] = {"median": round(statistics.median(times), 2), "most": round(max(times), 2)}
    if given.json:
        print(json.dumps(figures))
        return
    print(f"{queued:,} studies queued, {given.starts} starts:")
    print(figures["accepts_after_s"])


if __name__ == "__main__":
    main()
