"""What a run writes about itself while it learns: a line a report, for people, for TensorBoard and for tests."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

LOG_NAME = "log.jsonl"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Means over the updates since the last report."""

    update: int
    updates: int
    #: In epochs, or in updates where the recipe counts these.
    progress: float
    slice_loss: float
    localisation_loss: float
    learning_rate: float
    slices_per_s: float


@dataclass(frozen=True, kw_only=True)
class Validation:
    """How good the averaged network is on scans that it does not learn from."""

    update: int
    epoch: int
    #: Of what the figures are: "slice", or "scan" where some slices' truth is not known.
    level: str = "slice"
    weighted_log_loss: float
    #: None for a class without labels.
    by_class: Mapping[str, float | None] = field(default_factory=dict)
    auc: Mapping[str, float | None] = field(default_factory=dict)
    best: bool = False


class Journal:
    """`log.jsonl`, and TensorBoard's events beside it; the first process alone keeps one."""

    def __init__(self, folder: Path, *, last_update: int) -> None:
        """What a killed run had written past `last_update`, its checkpoint, is struck out: it will come again."""
        from tensorboardX import SummaryWriter

        self._path = folder / LOG_NAME
        if self._path.is_file():
            kept = [line for line in read_lines(self._path) if line["update"] <= last_update]
            partial = self._path.with_suffix(".partial")
            partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
            partial.replace(self._path)
        self._file = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(folder / "tensorboard"), purge_step=last_update + 1 if last_update else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.close()
        self._events.close()

    def write(self, line: Progress | Validation) -> None:
        """Keep a line, at once."""
        kind = "progress" if isinstance(line, Progress) else "validation"
        content: dict[str, Any] = {"kind": kind, **asdict(line)}
        self._file.write(json.dumps(content) + "\n")
        self._file.flush()
        for name, value in _flat(content):
            self._events.add_scalar(f"{kind}/{name}", value, line.update)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal; a last one that a kill left unfinished is no line."""
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except json.JSONDecodeError:
            break
    return lines


def _flat(content: Mapping[str, Any]) -> list[tuple[str, float]]:
    flat: list[tuple[str, float]] = []
    for name, value in content.items():
        if isinstance(value, dict):
            flat += [(f"{name}_{inner}", number) for inner, number in value.items() if number is not None]
        elif isinstance(value, float):
            flat.append((name, value))
    return flat
