"""Stored files on their way out: as they were stored, or not at all.

Every file is measured before the first byte is sent, and hashed on the way. The last piece of a file leaves when its
hash has been found right, so that a damaged file never arrives whole.
"""

import hashlib
from collections.abc import Iterator, Sequence
from io import BytesIO

import numpy as np
import structlog
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from ichd.domain.errors import Permanent, Transient
from ichd.domain.reason import Reason
from ichd.store.catalogue import Catalogue, CataloguedInstance
from ichd.store.criteria import Criteria
from ichd.vision.parsed import PARSE_ERRORS, syntax_of
from ichd.vision.pixels import has_decoder

_log = structlog.get_logger(__name__)

_CHUNK_BYTES = 1 << 20
#: No image of CT is larger; what claims to be would fill the memory.
_MOST_DECODED_BYTES = 512 << 20


def whole_files(catalogue: Catalogue, criteria: Criteria) -> list[CataloguedInstance]:
    """What matches, in the order of arrival; empty where nothing does.

    Raises:
        Permanent: IMAGES_DROPPED, some or all of it: who asks for a head must not get half of one; FILE_DAMAGED, a file
            is missing or has another size.
        Transient: the database or the spool does not answer.
    """
    found = list(catalogue.files(criteria))
    require_here(found)
    catalogue.bring(found)
    for instance in found:
        if not catalogue.is_whole(instance):
            raise damaged(instance)
    return found


def require_here(found: Sequence[CataloguedInstance]) -> None:
    """Make sure that no image was dropped.

    Raises:
        Permanent: IMAGES_DROPPED.
    """
    gone = [instance.dropped_at for instance in found if instance.dropped_at is not None]
    if gone:
        raise Permanent(Reason.IMAGES_DROPPED, f"{len(gone)} of {len(found)}, on {max(gone):%Y-%m-%d}")


def damaged(instance: CataloguedInstance) -> Permanent:
    """A stored file that can't be vouched for."""
    _log.error("stored_file_damaged", path=instance.stored.path, sop_instance_uid=instance.facts.sop_instance_uid)
    return Permanent(Reason.FILE_DAMAGED, instance.facts.sop_instance_uid)


def verified_chunks(instance: CataloguedInstance) -> Iterator[bytes]:
    """The file in pieces of at most a mebibyte.

    Raises:
        Permanent: FILE_DAMAGED, before the last piece.
        Transient: the disk fails.
    """
    digest = hashlib.sha256()
    held = b""
    try:
        with instance.path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                if held:
                    yield held
                held = chunk
    except FileNotFoundError as error:
        raise damaged(instance) from error
    except OSError as error:
        raise Transient(Reason.STORE_UNAVAILABLE, f"spool: {error.strerror}") from error
    if digest.hexdigest() != instance.stored.sha256:
        raise damaged(instance)
    yield held


def read_whole(instance: CataloguedInstance) -> FileDataset:
    """The file, verified and parsed, in memory: dicom.max_instance_mb bounds it.

    Raises:
        Permanent: FILE_DAMAGED.
        Transient: the disk fails.
    """
    content = b"".join(verified_chunks(instance))
    try:
        return dcmread(BytesIO(content))
    except PARSE_ERRORS as error:
        raise damaged(instance) from error


def read_header(instance: CataloguedInstance) -> FileDataset:
    """What a file says before its pixels, once all of it was found to be what it was.

    Raises:
        Permanent: FILE_DAMAGED.
        Transient: the disk fails.
    """
    content = b"".join(verified_chunks(instance))
    try:
        return dcmread(BytesIO(content), stop_before_pixels=True)
    except PARSE_ERRORS as error:
        raise damaged(instance) from error


def can_be_decoded(dataset: Dataset) -> bool:
    """Whether there is a decoder for its pixels, and memory for what it decodes to."""
    syntax = syntax_of(dataset)
    bits = int(dataset.get("BitsAllocated") or 16)
    samples = int(dataset.get("SamplesPerPixel") or 1)
    pixels = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0) * frames_of(dataset) * samples
    if pixels * bits // 8 > _MOST_DECODED_BYTES:
        return False
    return not is_encapsulated(syntax) or has_decoder(syntax)


def frames_of(dataset: Dataset) -> int:
    """Number of frames, one where it is not said."""
    return max(1, int(dataset.get("NumberOfFrames") or 1))


def is_encapsulated(syntax: UID) -> bool:
    """Whether pixels are fragments of a compressed stream."""
    return bool(syntax.is_compressed and not syntax.is_deflated)


def in_explicit_little_endian(instance: CataloguedInstance) -> bytes:
    """The file in the transfer syntax that every client reads; its UIDs stay: the pixels are the same.

    Raises:
        Permanent: FILE_DAMAGED; UNSUPPORTED_TRANSFER_SYNTAX, no decoder; PIXELS_UNREADABLE.
        Transient: the disk fails.
    """
    dataset = read_whole(instance)
    syntax = syntax_of(dataset)
    uid = instance.facts.sop_instance_uid
    try:
        if not can_be_decoded(dataset):
            raise Permanent(Reason.UNSUPPORTED_TRANSFER_SYNTAX, f"{uid}, {syntax.name}")
        if is_encapsulated(syntax):
            dataset.decompress(as_rgb=False, generate_instance_uid=False)
        elif syntax == ExplicitVRBigEndian:
            _swap_words(dataset)
        return _written(dataset)
    except PARSE_ERRORS as error:
        raise Permanent(Reason.PIXELS_UNREADABLE, f"{uid}, {syntax.name}") from error


def _swap_words(dataset: Dataset) -> None:
    """Words of 16 bits, in pixels, overlays and tables; numbers are turned by pydicom itself."""
    for each in dataset.iterall():
        if each.VR == "OW" and isinstance(each.value, bytes):
            each.value = np.frombuffer(each.value, dtype=">u2").astype("<u2").tobytes()


def _written(dataset: FileDataset) -> bytes:
    """The file, every element of it parsed and encoded anew."""
    renewed = Dataset()
    for each in dataset:
        renewed.add(each)
    renewed.file_meta = dataset.file_meta
    renewed.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    renewed.save_as(buffer, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return buffer.getvalue()
