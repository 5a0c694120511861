"""Where in a slice a model saw a kind of haemorrhage, as plain data: what is kept, drawn and listed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ichd.domain.finding import ClassFinding, Finding, Presence, SlicePrediction

#: What a cell that is as hot as its slice has holds.
HOTTEST = 255


@dataclass(frozen=True, kw_only=True)
class HeatMap:
    """The heat of one class in one stored image, on the coarse grid that the network sees it on.

    Heat is relative: 255 is the hottest cell of this image, 0 all that is no hotter than half of its cells. So colours
    of two images, or of two classes, can't be compared; their probabilities can.
    """

    sop_instance_uid: str
    #: Of the slice in a multi-frame image, counted from 1; None where the image is the slice.
    frame_number: int | None
    #: One of `ichd.domain.finding.CLASSES`.
    class_name: str
    #: Rows of cells, in the orientation of the stored image: row 0 is its uppermost.
    cells: tuple[bytes, ...]
    #: Row and column, in pixels of the stored image, of the centre of the first row's first cell; (0, 0) is the centre
    #: of the first pixel.
    first_cell: tuple[float, float]
    #: From one cell to the next, in pixels: down a column, along a row.
    cell_pitch: tuple[float, float]
    #: The same in millimetres of the patient.
    cell_mm: tuple[float, float]
    #: What the model would say of the slice without its neighbours: far below the reported probability, the evidence
    #: lies in them.
    probability_alone: float

    def __post_init__(self) -> None:
        if not self.cells or not self.cells[0] or len({len(row) for row in self.cells}) != 1:
            raise ValueError("a heat map has rows of cells, all equally long")
        if min(self.cell_pitch) <= 0:
            raise ValueError("cells have a size")

    def to_record(self) -> dict[str, Any]:
        """JSON types only; `heat_map_of` reads it back without loss."""
        return {
            "sop_uid": self.sop_instance_uid,
            "frame": self.frame_number,
            "class": self.class_name,
            "cells": [row.hex() for row in self.cells],
            "first_cell": list(self.first_cell),
            "cell_pitch": list(self.cell_pitch),
            "cell_mm": list(self.cell_mm),
            "p_alone": self.probability_alone,
        }


def heat_map_of(record: Mapping[str, Any]) -> HeatMap:
    """The map that `HeatMap.to_record` wrote.

    Raises:
        KeyError, TypeError, ValueError: the record is not one of ours.
    """
    row, column = record["first_cell"]
    down, along = record["cell_pitch"]
    down_mm, along_mm = record["cell_mm"]
    return HeatMap(
        sop_instance_uid=record["sop_uid"],
        frame_number=record["frame"],
        class_name=record["class"],
        cells=tuple(bytes.fromhex(cells) for cells in record["cells"]),
        first_cell=(row, column),
        cell_pitch=(down, along),
        cell_mm=(down_mm, along_mm),
        probability_alone=record["p_alone"],
    )


@dataclass(frozen=True, kw_only=True)
class MapWanted:
    """A slice, and the classes whose heat is asked for."""

    slice: SlicePrediction
    class_names: tuple[str, ...]


def maps_wanted(finding: Finding, *, only: Sequence[str] = ()) -> tuple[MapWanted, ...]:
    """The key slices of what is called or undetermined, in the order of the finding; with `only`, of these classes.

    A class that is absent has no map: heat is relative, and would show the most suspicious spot of a healthy brain as
    hot as any bleed.
    """
    slices: dict[tuple[str, int | None], tuple[SlicePrediction, list[str]]] = {}
    for found in finding.classes:
        if only and found.name not in only:
            continue
        for key in _shown(found):
            slices.setdefault((key.sop_instance_uid, key.frame_number), (key, []))[1].append(found.name)
    return tuple(MapWanted(slice=key, class_names=tuple(names)) for key, names in slices.values())


def _shown(found: ClassFinding) -> tuple[SlicePrediction, ...]:
    return () if found.presence is Presence.ABSENT else found.key_slices
