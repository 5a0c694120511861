"""Parcels whose objects lie in files, as in the outbox."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom.dsutils import split_dataset

from ichd.domain.delivery import SOP_CLASSES, ObjectKind, Outgoing, Parcel
from tests.report.findings import header

SR, KO, SC = ObjectKind.SR, ObjectKind.KO, ObjectKind.SC
USUAL = (SR, KO, SC)


@dataclass(kw_only=True)
class Outbox:
    """Makes what is asked for, once, and remembers what was asked for."""

    folder: Path
    object_bytes: int = 3000
    #: Kinds of which there is nothing.
    nothing_of: frozenset[ObjectKind] = frozenset()
    asked: list[tuple[ObjectKind, ...]] = field(default_factory=list)
    made: dict[ObjectKind, Outgoing] = field(default_factory=dict)

    def parcel(self, *wanted: ObjectKind) -> Parcel:
        """A parcel of these kinds."""
        return Parcel(study_instance_uid=str(header().StudyInstanceUID), wanted=wanted or USUAL, fetch=self.fetch)

    def fetch(self, kinds: Sequence[ObjectKind]) -> Sequence[Outgoing]:
        """Objects of these kinds, in that order."""
        self.asked.append(tuple(kinds))
        return [self.object(kind) for kind in kinds if kind not in self.nothing_of]

    def object(self, kind: ObjectKind) -> Outgoing:
        """The object of a kind."""
        if kind not in self.made:
            self.made[kind] = self._make(kind)
        return self.made[kind]

    def _make(self, kind: ObjectKind) -> Outgoing:
        dataset = _object(kind, self.object_bytes)
        dataset.SOPClassUID = SOP_CLASSES[kind]
        dataset.SOPInstanceUID = f"2.25.4711{list(ObjectKind).index(kind)}"
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{kind}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        return Outgoing(
            kind=kind, sop_class_uid=dataset.SOPClassUID, sop_instance_uid=dataset.SOPInstanceUID, path=path
        )


def payload(path: Path) -> bytes:
    """The data set's bytes, without preamble and File Meta Information."""
    _, offset = split_dataset(path)
    return path.read_bytes()[offset:]


def _object(kind: ObjectKind, size: int) -> Dataset:
    """As much of an object as a receiver looks at."""
    dataset = header()
    dataset.Modality = "SR" if kind.value.startswith("sr") else "OT"
    dataset.SeriesInstanceUID = f"2.25.815{list(ObjectKind).index(kind)}"
    dataset.SeriesNumber, dataset.InstanceNumber = 9000, 1
    dataset.add_new(0x00431001, "OB", bytes(index % 251 for index in range(size + size % 2)))
    return dataset
