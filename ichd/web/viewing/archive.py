"""The images of a study in one ZIP file that is never whole anywhere: not in memory, not on a disk."""

import io
import zipfile
from collections.abc import Iterator, Sequence

from ichd.store.catalogue import CataloguedInstance
from ichd.web.dicomweb.files import verified_chunks

#: The first moment that a ZIP file can tell: two downloads of the same study are the same bytes.
_THEN = (1980, 1, 1, 0, 0, 0)


class _Outlet(io.RawIOBase):
    """Where the ZIP file is written to, and taken from in pieces; it can't be wound back."""

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, content: bytes) -> int:  # type: ignore[override]
        """Hold some bytes until they are taken."""
        self._written.append(bytes(content))
        return len(content)

    def take(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._written)
        self._written.clear()
        return taken


def zipped(files: Sequence[CataloguedInstance]) -> Iterator[bytes]:
    """A ZIP file in pieces, a folder a series. Not compressed: pixels are, or gain little, and a core is worth more.

    Raises:
        Permanent: FILE_DAMAGED; the ZIP file then breaks off, and no program takes it for whole.
        Transient: the disk fails.
    """
    outlet = _Outlet()
    series: dict[str, int] = {}
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:
        for number, file in enumerate(files, start=1):
            folder = series.setdefault(file.facts.series_instance_uid, len(series) + 1)
            entry = zipfile.ZipInfo(f"series-{folder}/{number:05}.dcm", date_time=_THEN)
            entry.file_size = file.stored.size
            with archive.open(entry, "w") as member:
                for chunk in verified_chunks(file):
                    member.write(chunk)
                    yield outlet.take()
    yield outlet.take()
