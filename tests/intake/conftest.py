"""A real listener on a free loopback port, with a real store behind it."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from ichd.domain.retention import Watermarks
from ichd.intake.counter import Counter
from ichd.intake.dimse.listener import Listener, ListenerConfig
from ichd.intake.service import Service
from ichd.store.arrivals import Arrivals
from ichd.store.engine import migrate, open_database
from ichd.store.spool import Spool
from ichd.store.tables import AssociationRow, Base, InstanceRow
from tests.intake.senders import Sender


def now() -> datetime:
    return datetime.now(UTC)


@dataclass(kw_only=True)
class House:
    """The rooms that an image passes, opened up for tests."""

    root: Path
    engine: Engine
    spool: Spool
    arrivals: Arrivals
    listener: Listener

    @property
    def port(self) -> int:
        return self.listener.port

    def sender(self, **options: Any) -> Sender:
        return Sender(self.port, **options)

    def rows(self, table: type[Base]) -> list[Any]:
        with Session(self.engine) as session:
            return list(session.scalars(select(table)))

    def count(self, table: type[Base] = InstanceRow) -> int:
        with Session(self.engine) as session:
            return session.scalar(select(func.count()).select_from(table)) or 0

    def files(self) -> list[Path]:
        """Everything that lies in the spool, finished or not."""
        return [path for path in (self.root / "spool").rglob("*") if path.is_file()]

    def stored(self, sop_instance_uid: str) -> bytes:
        with Session(self.engine) as session:
            path = session.scalars(select(InstanceRow.path).filter_by(sop_instance_uid=sop_instance_uid)).one()
        return self.spool.locate(path).read_bytes()

    def association(self) -> AssociationRow:
        (row,) = self.rows(AssociationRow)
        assert isinstance(row, AssociationRow)
        return row


OpenHouse = Callable[..., House]


@pytest.fixture
def open_house(tmp_path: Path) -> Iterator[OpenHouse]:
    """Builds a listener; settings of `ListenerConfig`, and a spool, limits, services or takers of objects of choice."""
    opened: list[House] = []

    def build(
        *,
        spool: Spool | None = None,
        watermarks: Watermarks = Watermarks(high=1, low=1),  # noqa: B008
        max_instance_bytes: int = 64 << 20,
        max_association_bytes: int = 64 << 30,
        services: Mapping[str, Service] = MappingProxyType({}),
        objects: Callable[[Engine], Mapping[str, Service]] = lambda _: {},
        provided: Collection[str] = (),
        **settings: Any,
    ) -> House:
        url = f"sqlite:///{tmp_path / 'ichd.db'}"
        migrate(url)
        engine = open_database(url)
        spool = spool or Spool(tmp_path / "spool")
        arrivals = Arrivals(engine)
        config = replace(ListenerConfig(port=0, network_timeout_s=5.0), **settings)
        counter = Counter(
            arrivals,
            spool,
            watermarks=watermarks,
            max_instance_bytes=max_instance_bytes,
            max_visit_bytes=max_association_bytes,
        )
        house = House(
            root=tmp_path,
            engine=engine,
            spool=spool,
            arrivals=arrivals,
            listener=Listener(
                config, counter, arrivals, now, services=services, objects=objects(engine), provided=provided
            ),
        )
        house.listener.start()
        opened.append(house)
        return house

    yield build
    for house in opened:
        house.listener.stop(grace_s=0.5)
        house.engine.dispose()


@pytest.fixture
def house(open_house: OpenHouse) -> House:
    return open_house()


@pytest.fixture(scope="session")
def data_folder() -> Path:
    root = os.environ.get("ICHD_TEST_DATA")
    if not root:
        pytest.skip("ICHD_TEST_DATA is unset: no real data")
    return Path(root)
