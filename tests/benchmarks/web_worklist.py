"""The worklist at scale.

`list_ms_1m`: beside 1,000,000 finished studies (100,000 with --quick) on PostgreSQL and on SQLite, the median of a page
(`/`, 50 lines with the counts of its filters) and of `/api/studies` (100 lines), each asked by an address out of a set
of filters, searches, orders and deep pages; the slowest of all.

`intake_slowdown_200_viewers`: 600 images by four senders to a listener on SQLite, with the web role beside it on the
same database; in alternating rounds 200 viewers hold `/events` of the worklist open and read what they are told, or
none does. The median rate without viewers over the median rate with them.
"""

import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import httpx
import psycopg
from fastapi.testclient import TestClient

from ichd.domain.finding import ModelIdentity
from ichd.store.arrivals import Arrivals
from ichd.store.catalogue import Catalogue
from ichd.store.engine import migrate, open_database
from ichd.store.heatmaps import HeatMaps
from ichd.store.history import History
from ichd.store.reviews import Reviews
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from ichd.store.worklist_order import Cursor
from ichd.web import Site, create_app
from tests.benchmarks.figures import Figure
from tests.benchmarks.finished import fill
from tests.benchmarks.sending import Images, send
from tests.benchmarks.servers import ENVIRONMENT, ichd_listener
from tests.peers.ports import free_port
from tests.peers.postgresql import PostgresqlAbsent, running_postgresql

VIEWERS = 200
_IMAGES, _SENDERS = 600, 4
_SETTLE_S = 5.0
_MODEL = ModelIdentity(name="none", version="0", weights_sha256="0" * 64, bundle_sha256="0" * 64)
#: `finished.fill` has one a minute since then.
_FIRST = datetime(2024, 1, 1, tzinfo=UTC)


def measure(*, quick: bool) -> tuple[dict[str, Figure], dict[str, str]]:
    """The figures, and why those that are null are."""
    studies = 100_000 if quick else 1_000_000
    figures: dict[str, Figure] = {"listed_studies": studies}
    why_null: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="ichd-web-") as scratch:
        # PostgreSQL does not run as root.
        Path(scratch).chmod(0o755)
        figures |= _named("sqlite", _pages(f"sqlite:///{scratch}/ichd.db", Path(scratch), studies, quick=quick))
        try:
            with running_postgresql(Path(scratch) / "server") as server:
                psycopg.connect(server).close()
                figures |= _named("postgresql", _pages(server, Path(scratch), studies, quick=quick))
            figures["list_ms_1m"] = max(float(value or 0) for name, value in figures.items() if "_ms_" in name)
        except PostgresqlAbsent as absent:
            figures["list_ms_1m"] = None
            why_null["list_ms_1m"] = str(absent)
    # On the disk that a store would lie on: /tmp may be memory, which makes a sync cost nothing.
    with tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".web-") as scratch:
        figures |= _slowdown(Path(scratch), rounds=2 if quick else 5)
    return figures, why_null


def _named(database: str, found: dict[str, float]) -> dict[str, Figure]:
    return {f"{name}_ms_{database}": value for name, value in found.items()}


def _pages(url: str, folder: Path, studies: int, *, quick: bool) -> dict[str, float]:
    """The slowest address of page and API, by the median of its answers."""
    migrate(url)
    engine = open_database(url)
    fill(engine, studies)
    now = _FIRST + timedelta(minutes=studies)
    spool = Spool(folder / "spool")
    app = create_app(
        studies=Studies(engine, spool),
        arrivals=Arrivals(engine),
        catalogue=Catalogue(engine, spool),
        heat_maps=HeatMaps(engine, spool),
        history=History(engine, spool),
        reviews=Reviews(engine),
        site=Site(version="0", listener="ICHD@127.0.0.1:11112", model=lambda: _MODEL),
        checks={},
        clock=lambda: now,
    )
    client = TestClient(app, base_url="http://127.0.0.1:8642", client=("127.0.0.1", 50000))
    worst: dict[str, float] = {}
    for name, path in (("page", "/"), ("api", "/api/studies")):
        for address in _addresses(now, studies, quick=quick):
            ms = _median_ms(client, f"{path}?{address}")
            if ms > worst.get(name, 0.0):
                worst[name] = ms
                print(f"{ms:8.1f} ms {path}?{address}", flush=True)
    engine.dispose()
    return worst


def _addresses(now: datetime, studies: int, *, quick: bool) -> Iterator[str]:
    deep = Cursor(part=0, received_at=now - timedelta(minutes=studies // 2), study_id=studies // 2, on_top_since=now)
    month = (now - timedelta(days=30)).date().isoformat()
    searches = ("", "A", "a99", "1.2.826.9.", "nothing")
    narrowed = (
        "",
        "state=failed",
        "state=receiving",
        "triage=urgent",
        "triage=indeterminate&triage=routine&state=failed&state=reported",
        "triage=urgent&state=not_analysed",
    )
    times = ("", f"since={month}", f"until={month}", f"after={deep}&order=newest")
    orders = ("order=urgent",) if quick else ("order=urgent", "order=newest")
    for search, filters, when, order in product(searches, narrowed, times, orders):
        words = (f"q={search}" if search else "", filters, when, order if "order" not in when else "")
        yield "&".join(word for word in words if word)


def _median_ms(client: TestClient, address: str, calls: int = 3) -> float:
    spent = []
    for _ in range(calls):
        begun = time.perf_counter()
        answer = client.get(address)
        spent.append((time.perf_counter() - begun) * 1e3)
        answer.raise_for_status()
    return round(statistics.median(spent), 2)


@contextmanager
def _viewers(address: str) -> Iterator[None]:
    """Readers of `/events` in a process of their own."""
    program = "import sys; from tests.benchmarks.web_worklist import watch; watch(sys.argv[1], int(sys.argv[2]))"
    command = [sys.executable, "-c", program, address, str(VIEWERS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        # All of them have an answer by then.
        if process.stdout.readline().strip() != "looking":
            raise RuntimeError("the viewers could not look")
        yield
        process.terminate()


def _slowdown(folder: Path, *, rounds: int) -> dict[str, Figure]:
    images = Images(folder)
    rates: dict[bool, list[float]] = {False: [], True: []}
    with ichd_listener(folder / "ichd") as server, _web(folder / "ichd") as address:
        send(server, images.sets(_SENDERS, _IMAGES))
        for number in range(rounds):
            for watched in (False, True) if number % 2 else (True, False):
                sets = images.sets(_SENDERS, _IMAGES)
                with _viewers(address) if watched else nullcontext():
                    # Past the first look, which is the slowest; and as long without one, for the disk's sake.
                    time.sleep(_SETTLE_S)
                    rate = send(server, sets)
                rates[watched].append(rate)
                print(f"round {number + 1}: {'200 viewers' if watched else 'no viewer':<12}{rate:8.0f} images/s")
    alone, beside = statistics.median(rates[False]), statistics.median(rates[True])
    return {
        "instances_per_s_no_viewer": round(alone, 1),
        "instances_per_s_200_viewers": round(beside, 1),
        "intake_slowdown_200_viewers": round(alone / beside, 3),
    }


@contextmanager
def _web(folder: Path) -> Iterator[str]:
    """`ichd web` on the listener's database."""
    port = free_port()
    config = folder / "web.toml"
    config.write_text((folder / "ichd.toml").read_text() + f"[web]\nport = {port}\n")
    command = [sys.executable, "-m", "ichd", "--config", str(config), "web"]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL) as process:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{address}/healthz")
                break
            except httpx.ConnectError:
                time.sleep(0.1)
        yield address
        process.terminate()


def watch(address: str, viewers: int) -> None:
    """Hold streams open until this process is ended."""
    asyncio.run(_look(address, viewers))


async def _look(address: str, viewers: int) -> None:
    limits = httpx.Limits(max_connections=viewers)
    looking: set[int] = set()
    all_look = asyncio.Event()

    async def read(client: httpx.AsyncClient, number: int) -> None:
        async with client.stream("GET", f"{address}/events") as stream:
            stream.raise_for_status()
            async for _ in stream.aiter_raw():
                looking.add(number)
                if len(looking) == viewers:
                    all_look.set()

    async with httpx.AsyncClient(timeout=None, limits=limits) as client:  # noqa: S113 - until we are ended
        reading = [asyncio.create_task(read(client, number)) for number in range(viewers)]
        await all_look.wait()
        print("looking", flush=True)
        await asyncio.gather(*reading)
