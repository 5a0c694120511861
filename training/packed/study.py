"""One packed study, and what is known of it.

Shapes: S slices, H W pixels, C = 6 classes in the order of `ichd.domain.finding.CLASSES`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.cases.index import LabelLevel, Split

#: A label that nobody gave.
UNKNOWN = -1


@dataclass(frozen=True, kw_only=True)
class PackedStudy:
    """A scan whose HU stay on disk until they are asked for."""

    study_id: str
    patient_id: str
    split: Split
    #: The shard, and the sha256 of its bytes.
    path: Path
    sha256: str
    #: Images behind each slice, [S]: several where thin slices were averaged.
    image_ids: tuple[tuple[str, ...], ...]
    #: [S], ascending.
    z_mm: tuple[float, ...]
    rows: int
    columns: int
    #: Between rows, between columns.
    pixel_spacing_mm: tuple[float, float]
    #: In-plane middle of the head, (row, column) in pixels, as `ichd.vision.preprocess.head_centre` finds it.
    head_centre: tuple[float, float]
    #: 1, 0 or UNKNOWN, int8 [S, C]. Of a study that is labelled as a whole, absent classes are 0 in every slice and
    #: present ones UNKNOWN.
    labels_SC: NDArray[np.int8]
    #: 1, 0 or UNKNOWN, int8 [C].
    study_labels_C: NDArray[np.int8]
    label_level: LabelLevel
    #: Subgroup by its name: "encoding", "thickness", "manufacturer".
    groups: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.z_mm)

    def hu(self, slices: Sequence[int] | None = None) -> NDArray[np.int16]:
        """HU, int16 [S, H, W], of all or the named slices; upright as `ichd.vision.scan.HeadScan` is.

        Raises:
            UserError: the shard is missing or damaged; names it.
        """
        from training.packed.shard import read_slices

        return read_slices(self.path, slices)
