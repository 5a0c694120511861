"""Files to a peer as they are: what `ichd send` does.

Every file travels in its own transfer syntax, byte for byte: sending is no occasion to change an image.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, MediaStorageDirectoryStorage
from pynetdicom.dsutils import split_dataset

from ichd.domain.errors import UserError
from ichd.publish.association import Association, associated_with
from ichd.publish.command import Command, CommandField, Tag
from ichd.publish.pdu import MAX_CONTEXTS
from ichd.publish.peer import DimsePeer, Verdict, judge_status

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
    sop_instance_uid: UID
    transfer_syntax_uid: UID
    #: Where the data set begins.
    offset: int

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
        with associated_with(peer, list(dict.fromkeys(each.context for each in batch))) as association:
            for each in batch:
                refusal = _store(association, each)
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
        meta, offset = split_dataset(path)
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
    return _Outgoing(
        path=path,
        sop_class_uid=UID(sop_class),
        sop_instance_uid=UID(instance),
        transfer_syntax_uid=UID(transfer_syntax),
        offset=offset,
    )


def _batches(outgoing: Sequence[_Outgoing]) -> Iterator[list[_Outgoing]]:
    """Runs of files whose contexts fit one association; the order of files within a context is kept."""
    by_context: dict[tuple[UID, UID], list[_Outgoing]] = {}
    for each in outgoing:
        by_context.setdefault(each.context, []).append(each)
    pairs = list(by_context)
    for start in range(0, len(pairs), MAX_CONTEXTS):
        chosen = set(pairs[start : start + MAX_CONTEXTS])
        yield [each for each in outgoing if each.context in chosen]


def _store(association: Association, each: _Outgoing) -> str | None:
    """None where the peer took the file, else its refusal."""
    context = association.context(each.sop_class_uid, [each.transfer_syntax_uid])
    if context is None:
        return f"the peer does not accept {each.sop_class_uid.name} in {each.transfer_syntax_uid.name}"
    elements: dict[Tag, int | str] = {
        Tag.AFFECTED_SOP_CLASS_UID: each.sop_class_uid,
        Tag.AFFECTED_SOP_INSTANCE_UID: each.sop_instance_uid,
        Tag.PRIORITY: 0,
    }
    data_set = memoryview(each.path.read_bytes())[each.offset :]
    answer = association.ask(context, CommandField.C_STORE, elements, data_set).command
    return None if judge_status(answer.status) is Verdict.STORED else _described(answer)


def _described(answer: Command) -> str:
    """Status and Error Comment of an answer, for the person who sends.

    Some peers name the patient in the comment, so it never becomes an error's detail, which is logged and stored.
    """
    return f"0x{answer.status:04X}" + (f" {answer.comment}" if answer.comment else "")
