"""Files to a peer as they are: what `ichd send` does.

Every file travels in its own transfer syntax, byte for byte: sending is no occasion to change an image.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, MediaStorageDirectoryStorage
from pynetdicom import _config as pynetdicom_config
from pynetdicom.association import Association
from pynetdicom.dsutils import split_dataset
from pynetdicom.presentation import build_context

from ichd.domain.errors import UserError
from ichd.publish.dimse import DimsePeer, Verdict, answered, associated, describe_status, judge_status

#: Presentation contexts that one association can carry: odd numbers in a byte (PS3.8 9.3.2.2).
MAX_CONTEXTS = 128

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class RefusedFile:
    """A file that the peer did not take."""

    path: Path
    #: The status and comment that it answered, or why it was not asked.
    status: str


@dataclass(frozen=True, kw_only=True)
class SkippedFile:
    """A file that can't be sent by C-STORE."""

    path: Path
    reason: str


@dataclass(frozen=True, kw_only=True)
class SendSummary:
    """What became of each file."""

    sent: int
    refused: tuple[RefusedFile, ...]
    skipped: tuple[SkippedFile, ...]


@dataclass(frozen=True, kw_only=True)
class _Outgoing:
    path: Path
    sop_class_uid: UID
    transfer_syntax_uid: UID

    @property
    def context(self) -> tuple[UID, UID]:
        return self.sop_class_uid, self.transfer_syntax_uid


def send_folder(peer: DimsePeer, paths: Sequence[Path], *, progress: Progress) -> SendSummary:
    """Send every DICOM file among `paths` and below them, over as few associations as the contexts allow.

    `progress` is told how many files are done, and of how many. A file that the peer refuses does not stop the others.

    Raises:
        UserError: a path does not exist.
        Transient, Permanent: no association came about, or it broke; files sent until then stay sent.
    """
    outgoing: list[_Outgoing] = []
    skipped: list[SkippedFile] = []
    for path in _files(paths):
        found = _inspect(path)
        if isinstance(found, _Outgoing):
            outgoing.append(found)
        else:
            skipped.append(found)

    progress(0, len(outgoing))
    refused: list[RefusedFile] = []
    done = 0
    for batch in _batches(outgoing):
        contexts = [build_context(*pair) for pair in dict.fromkeys(each.context for each in batch)]
        with _files_sent_unparsed(), associated(peer, contexts) as association:
            for each in batch:
                refusal = _store(peer, association, each)
                if refusal is not None:
                    refused.append(RefusedFile(path=each.path, status=refusal))
                done += 1
                progress(done, len(outgoing))
    return SendSummary(sent=done - len(refused), refused=tuple(refused), skipped=tuple(skipped))


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file())
        elif path.exists():
            yield path
        else:
            raise UserError(f"{path} does not exist; give a DICOM file or a folder of them")


def _inspect(path: Path) -> _Outgoing | SkippedFile:
    """What the File Meta Information says (PS3.10 7.1); the data set itself is the receiver's to judge."""
    try:
        meta, _ = split_dataset(path)
        sop_class, instance = meta.get("MediaStorageSOPClassUID"), meta.get("MediaStorageSOPInstanceUID")
        transfer_syntax = meta.get("TransferSyntaxUID")
    except InvalidDicomError:
        return SkippedFile(path=path, reason="not a DICOM file")
    except OSError as error:
        return SkippedFile(path=path, reason=f"unreadable: {error.strerror or error}")
    except (ValueError, TypeError, ArithmeticError, NotImplementedError, LookupError) as error:
        return SkippedFile(path=path, reason=f"damaged File Meta Information: {error}")
    if sop_class == MediaStorageDirectoryStorage:
        return SkippedFile(path=path, reason="a DICOMDIR is no object to store")
    if not all(isinstance(uid, UID) and uid.is_valid for uid in (sop_class, instance, transfer_syntax)):
        return SkippedFile(path=path, reason="File Meta Information without valid UIDs")
    return _Outgoing(path=path, sop_class_uid=UID(sop_class), transfer_syntax_uid=UID(transfer_syntax))


def _batches(outgoing: Sequence[_Outgoing]) -> Iterator[list[_Outgoing]]:
    """Runs of files whose contexts fit one association; the order of files within a context is kept."""
    by_context: dict[tuple[UID, UID], list[_Outgoing]] = {}
    for each in outgoing:
        by_context.setdefault(each.context, []).append(each)
    pairs = list(by_context)
    for start in range(0, len(pairs), MAX_CONTEXTS):
        chosen = set(pairs[start : start + MAX_CONTEXTS])
        yield [each for each in outgoing if each.context in chosen]


def _store(peer: DimsePeer, association: Association, each: _Outgoing) -> str | None:
    """None where the peer took the file, else its refusal."""
    accepted = {(c.abstract_syntax, c.transfer_syntax[0]) for c in association.accepted_contexts}
    if each.context not in accepted:
        return f"the peer does not accept {each.sop_class_uid.name} in {each.transfer_syntax_uid.name}"
    answer = answered(peer, lambda: association.send_c_store(each.path))
    return None if judge_status(answer.Status) is Verdict.STORED else describe_status(answer)


@contextmanager
def _files_sent_unparsed() -> Iterator[None]:
    """pynetdicom parses and re-encodes a file that it sends, unless this switch of the process says otherwise.

    Nothing else here sends by path, so that the switch is seen by no other association.
    """
    before = pynetdicom_config.STORE_SEND_CHUNKED_DATASET
    pynetdicom_config.STORE_SEND_CHUNKED_DATASET = True
    try:
        yield
    finally:
        pynetdicom_config.STORE_SEND_CHUNKED_DATASET = before
