"""A stored image as who reads it must take it: where it lies, and what its bytes must be."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """A file that somebody vouches for; whoever decodes it checks the very bytes that it decodes."""

    path: Path
    #: Of the whole file, hexadecimal, as it was when it arrived.
    sha256: str


#: What can be read: a file of the spool with its checksum, or one of a person's folder, which nobody vouches for.
AnyImage = Path | ImageFile
#: Sees to it that the files of some images, by SOP Instance UID, lie on this machine before they are opened.
Bring = Callable[[Collection[str]], None]


def all_here(_sop_uids: Collection[str]) -> None:
    """For files of which there is no other place that they could be brought from."""


def path_of(image: AnyImage) -> Path:
    """Where it lies."""
    return image.path if isinstance(image, ImageFile) else image


def sha256_of(image: AnyImage) -> str | None:
    """What its bytes must be; None where nobody says."""
    return image.sha256 if isinstance(image, ImageFile) else None
