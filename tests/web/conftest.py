"""One filled database for all tests of the pages; they only read it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ichd.domain.finding import ModelIdentity
from ichd.store.arrivals import Arrivals
from ichd.store.catalogue import Catalogue
from ichd.store.engine import check_schema, open_database
from ichd.store.heatmaps import HeatMaps
from ichd.store.history import History
from ichd.store.reviews import Reviews
from ichd.store.spool import Spool
from ichd.store.studies import Studies
from ichd.web import Entry, Site, create_app
from ichd.web.metrics import Watched
from ichd.web.system import system_room
from tests.web.worklist_of_all_states import DEMO, fill

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A folder with a database, and the studies in it by what happened to them."""

    folder: Path
    uids: dict[str, str]


def client_of(
    folder: Path,
    *,
    model: ModelIdentity = DEMO,
    entry: Entry | None = None,
    address: str = "127.0.0.1",
    clock: Callable[[], datetime] = lambda: NOW,
) -> TestClient:
    """A browser at `address`, looking at the database of `folder`."""
    engine = open_database(f"sqlite:///{folder / 'ichd.db'}")

    def database() -> str:
        check_schema(engine)
        return "reachable"

    checks = {"database": database, "model": lambda: model.name}
    watched = Watched(version="1.0", model=lambda: model, destinations=["pacs", "archive"], clock=lambda: NOW)
    app = create_app(
        studies=Studies(engine, Spool(folder / "spool")),
        arrivals=Arrivals(engine),
        catalogue=Catalogue(engine, Spool(folder / "spool")),
        heat_maps=HeatMaps(engine, Spool(folder / "spool")),
        reviews=Reviews(engine),
        history=History(engine, Spool(folder / "spool")),
        site=Site(version="1.0", listener="ICHD@127.0.0.1:11112", model=lambda: model),
        checks=checks,
        clock=clock,
        entry=entry,
        rooms=[system_room(engine, watched, checks)],
    )
    return TestClient(app, base_url="http://127.0.0.1:8642", client=(address, 50000))


@pytest.fixture(scope="session")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Filled:
    """Twelve studies in all states."""
    folder = tmp_path_factory.mktemp("hospital")
    return Filled(folder=folder, uids=fill(folder, NOW))


@pytest.fixture
def client(filled: Filled) -> Iterator[TestClient]:
    """A browser on the filled database."""
    with client_of(filled.folder) as client:
        yield client
