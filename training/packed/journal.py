"""How far packing has come: a line a study, so that a packing that was killed goes on where it stopped."""

import errno
import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ichd.domain.errors import UserError
from training.packed.images import LeftOut
from training.packed.manifest import StudyRow

JOURNAL = "journal.jsonl"
_FORM = "ichd packing 1"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one study."""

    study_id: str
    #: None where no image could be used.
    row: StudyRow | None
    left_out: tuple[LeftOut, ...]


class Journal:
    """The outcomes of one folder; of a study that was packed twice, the last one counts.

    A torn last line is what a kill leaves: it is cut off. That a line stands here proves nothing about its shard, which
    is compared by sha256 before it is kept.
    """

    def __init__(self, folder: Path, index_sha256: str) -> None:
        """Open or begin the journal of a folder, for one process alone.

        Raises:
            UserError: the folder holds other things, belongs to another index, is being packed by another process, is
                full or can't be written to.
        """
        self.path = folder / JOURNAL
        self._outcomes: dict[str, Outcome] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not self.path.exists() and any(folder.iterdir()):
                raise UserError(f"{folder} holds other files; name a folder that is empty or not there yet")
            self._file = self.path.open("a+b", buffering=0)
            self._begin(index_sha256)
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    @property
    def outcomes(self) -> Mapping[str, Outcome]:
        """By study."""
        return self._outcomes

    def add(self, outcome: Outcome) -> None:
        """Write one line.

        Raises:
            UserError: the disk is full.
        """
        try:
            self._write_line(asdict(outcome))
        except OSError as error:
            raise self._unwritable(error) from error
        self._outcomes[outcome.study_id] = outcome

    def _begin(self, index_sha256: str) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{self.path.parent} is being packed by another process; wait until that has ended"
            ) from error
        self._file.seek(0)
        written = self._file.read()
        whole = written[: written.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        if not whole:
            self._write_line({"form": _FORM, "index_sha256": index_sha256})
            return
        head, *lines = whole.splitlines()
        self._require_same(head, index_sha256)
        for line in lines:
            outcome = _outcome(line)
            if outcome is not None:
                self._outcomes[outcome.study_id] = outcome

    def _require_same(self, head: bytes, index_sha256: str) -> None:
        try:
            said = json.loads(head)
        except ValueError:
            said = {}
        if said.get("form") != _FORM:
            raise UserError(f"{self.path} is no journal of this version; name another folder")
        if said["index_sha256"] != index_sha256:
            raise UserError(
                f"{self.path.parent} was packed from another index ({said['index_sha256'][:12]}, "
                f"this one is {index_sha256[:12]}); name another folder, or remove that one"
            )

    def _write_line(self, value: object) -> None:
        line = json.dumps(value, separators=(",", ":")).encode() + b"\n"
        # Unbuffered, so that a kill loses no line; a disk that is nearly full takes a part of one without an error.
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _unwritable(self, error: OSError) -> UserError:
        return UserError(
            f"{self.path} can't be written ({error.strerror or error}); make room, or name another folder, "
            "and run the same command again"
        )


def _outcome(line: bytes) -> Outcome | None:
    """None where the line is damaged: its study is packed again."""
    try:
        said = json.loads(line)
        return Outcome(
            study_id=said["study_id"],
            row=None if said["row"] is None else StudyRow(**said["row"]),
            left_out=tuple(LeftOut(**one) for one in said["left_out"]),
        )
    except (ValueError, TypeError, KeyError):
        return None
