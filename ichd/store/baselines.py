"""What the self-test is held to: the first answer of a model in an engine, kept for good."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Engine, select

from ichd.store.tables import BaselineRow
from ichd.store.transaction import insert_if_new, reading, writing


class Baselines:
    """Answers by key. Every method raises Transient where the database does not answer."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def find(self, key: str) -> list[list[float]] | None:
        """Probabilities of each slice; None where nobody answered yet."""
        with reading(self._engine) as session:
            answer = session.scalars(select(BaselineRow.answer).where(BaselineRow.key == key)).one_or_none()
        return None if answer is None else answer["p"]

    def keep(self, key: str, p_SC: Sequence[Sequence[float]], *, engine: str, now: datetime) -> None:
        """The first answer stands; a later one changes nothing."""
        values = {"key": key, "made_at": now, "engine": engine, "answer": {"p": [list(row) for row in p_SC]}}
        with writing(self._engine) as session:
            insert_if_new(session, BaselineRow, values)
