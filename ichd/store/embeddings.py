"""What the network saw in single slices, kept beside the spool: `<spool>.embeddings/<engine>/<folder>/<image>-<slice>`.

A help and no record: all of it can be made again from the images. So nothing here is fsynced, which would cost more
than many an embedding; instead a file carries a checksum, and one that a loss of power or a failing disk left torn is
seen, removed and made anew. For the same reason no table knows of these files.

A file is named after the image that it was made of as the spool names it, so that it is found again, and goes, with it.
"""

import hashlib
import os
import re
import secrets
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ichd.store.beside import BUSY, age, is_abandoned, let_go, take_up, write_whole
from ichd.store.disk import disk_trouble
from ichd.store.draft import StoredFile
from ichd.store.spool import Spool

_MAGIC = b"ichd-embedding-2"
#: Checksum of all that follows it, the moment, in seconds since 1970, and whether the study was still arriving.
_HEAD = struct.Struct(f"<{len(_MAGIC)}s32sdB")
_NAME = re.compile(r"([0-9a-f]{32})-[0-9a-f]{32}")
#: Where the marks of whole studies stand, among the folders of the images.
_STUDIES = "studies"
#: Nobody who lives has a mark for so long: it stands for the time of a slice, or of a few.
_DIED_AFTER = timedelta(minutes=1)
#: An engine that no worker has run for so long is not coming back.
_OUTDATED_AFTER = timedelta(days=7)


@dataclass(frozen=True, kw_only=True)
class SliceKey:
    """A slice by what it was read from: one image, one frame of it, or several that were averaged."""

    #: Path in the spool of the (first) image.
    image: str
    #: sha256 over the contents of all of them, with their frame numbers.
    digest: str


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """What an engine made of a slice."""

    #: [F]
    values_F: NDArray[np.float32]
    made_at: datetime
    #: Whether it was made while the study still arrived, and not by a reading of it.
    ahead: bool


def slice_key(members: Sequence[tuple[StoredFile, int | None]]) -> SliceKey:
    """The key of a slice that was read from these images and frames (counted from 1; None for an image of one)."""
    text = "\n".join(f"{stored.sha256} {frame or 0}" for stored, frame in members)
    return SliceKey(image=members[0][0].path, digest=hashlib.sha256(text.encode()).hexdigest())


class Embeddings:
    """Those that engines of one fingerprint made of the images in a spool. Safe for any number of processes."""

    def __init__(self, spool: Spool, fingerprint: str) -> None:
        """`fingerprint` covers all that an embedding depends on beside its slice (`ichd.vision.engines.engine`)."""
        root = spool.root.absolute()
        self._spool = spool
        self._root = root.with_name(f"{root.name}.embeddings")
        self._folder = self._root / fingerprint[:32]
        self._fingerprint = fingerprint

    def holds(self, key: SliceKey) -> bool:
        """Whether there is one, sound or not."""
        return self._path(key).exists()

    def get(self, key: SliceKey, hu_HW: NDArray[np.generic]) -> Embedding | None:
        """The embedding of a slice with these very pixels; None where there is none that is sound.

        The pixels are part of the checksum. The key alone would do as long as a file is read alike whether it comes
        alone or with its series, and nothing but a wrong probability would show that this has ceased to be so.
        """
        path = self._path(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None  # what a disk does not give is made again
        if len(content) > _HEAD.size and (len(content) - _HEAD.size) % 4 == 0:
            magic, checksum, seconds, ahead = _HEAD.unpack_from(content)
            values = content[_HEAD.size :]
            if magic == _MAGIC and checksum == self._checksum(key, hu_HW, f"{seconds!r} {ahead}", values):
                return Embedding(
                    values_F=np.frombuffer(values, dtype="<f4").astype(np.float32),
                    made_at=datetime.fromtimestamp(seconds, UTC),
                    ahead=bool(ahead),
                )
        with suppress(OSError):
            path.unlink()
        return None

    def put(self, key: SliceKey, hu_HW: NDArray[np.generic], embedding: Embedding) -> None:
        """Keep what was made of a slice with these pixels.

        Raises:
            Transient: DISK_LOW or STORE_UNAVAILABLE.
        """
        seconds, ahead = embedding.made_at.timestamp(), int(embedding.ahead)
        values = embedding.values_F.astype("<f4").tobytes()
        checksum = self._checksum(key, hu_HW, f"{seconds!r} {ahead}", values)
        write_whole(self._path(key), _HEAD.pack(_MAGIC, checksum, seconds, ahead) + values)

    @contextmanager
    def being_made(self, key: SliceKey) -> Iterator[bool]:
        """Whether the caller is the one to make it; others are told False until it is done.

        Raises:
            Transient: DISK_LOW or STORE_UNAVAILABLE.
        """
        is_ours = take_up(self._path(key))
        try:
            yield is_ours
        finally:
            if is_ours:
                let_go(self._path(key))

    @contextmanager
    def being_seen(self, study_uid: str, *, at_most: int) -> Iterator[bool]:
        """Whether the caller is among the `at_most` processes that may see slices of a study before its job does.

        As with a slice, the mark of a process that dies stays, and holds for an hour. So no more than `at_most` die
        over one study, however many of its slices kill.

        Raises:
            Transient: DISK_LOW or STORE_UNAVAILABLE.
        """
        if len(self._marks(study_uid)) >= at_most:
            yield False
            return
        mark = self._folder / _STUDIES / f"{_name_of(study_uid)}-{secrets.token_hex(16)}"
        take_up(mark)
        # A second look: of those that came at once none goes past the bound, and all may try again.
        admitted = len(self._marks(study_uid)) <= at_most
        if not admitted:
            let_go(mark)
        try:
            yield admitted
        finally:
            let_go(mark)

    def deaths_over(self, study_uid: str, now: datetime) -> int:
        """How many processes died in the last hour while they saw slices of a study; `now` by this machine's clock."""
        return sum(1 for mark in self._marks(study_uid) if age(mark, now) > _DIED_AFTER)

    def sweep(self, now: datetime) -> int:
        """Remove those whose image has left the spool, of engines that are outdated, and what dead workers left.

        Returns how many files.

        Raises:
            Transient: the disk fails.
        """
        if not self._root.is_dir():
            return 0
        swept = 0
        with disk_trouble():
            if self._folder.is_dir():
                os.utime(self._folder)  # it is in use
            for engine in sorted(self._root.iterdir()):
                if age(engine, now) > _OUTDATED_AFTER:
                    swept += sum(1 for file in engine.rglob("*") if file.is_file())
                    shutil.rmtree(engine, ignore_errors=True)
                    continue
                for file in engine.glob("*/*"):
                    if self._is_left_over(file, now):
                        file.unlink(missing_ok=True)
                        swept += 1
        return swept

    def _is_left_over(self, file: Path, now: datetime) -> bool:
        named = _NAME.match(file.name)
        if named is None:
            return False  # not one of ours
        if not _NAME.fullmatch(file.name):
            return is_abandoned(file, now)
        return not self._spool.locate(f"{file.parent.name}/{named[1]}.dcm").exists()

    def _marks(self, study_uid: str) -> list[Path]:
        return list((self._folder / _STUDIES).glob(f"{_name_of(study_uid)}-*{BUSY}"))

    def _path(self, key: SliceKey) -> Path:
        return self._folder / f"{key.image.removesuffix('.dcm')}-{key.digest[:32]}"

    def _checksum(self, key: SliceKey, hu_HW: NDArray[np.generic], made: str, values: bytes) -> bytes:
        about = f"{self._fingerprint}\n{key.digest}\n{hu_HW.dtype.str} {hu_HW.shape}\n{made}\n"
        checksum = hashlib.sha256(about.encode())
        checksum.update(np.ascontiguousarray(hu_HW).data)
        checksum.update(values)
        return checksum.digest()


def _name_of(study_uid: str) -> str:
    """As long as those of images are, which is what the sweep knows."""
    return hashlib.sha256(study_uid.encode()).hexdigest()[:32]
