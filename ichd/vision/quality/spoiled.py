"""Single slices through the brain that show nothing, or whose values are other HU than their neighbours'."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ichd.domain.note import Note, Remark
from ichd.domain.reason import Reason
from ichd.vision.quality.sections import Flags, Sections, places
from ichd.vision.scan import HeadScan

#: Slices of the vault and of the upper base, where the middle of the head is brain.
_BRAIN_SHARE = 0.5
#: A place in so many of them is the middle of the head.
_MIDDLE_SHARE = 0.5
#: Neighbours to either side, so that a few spoiled ones in a row are still the fewer.
_AROUND = 5
#: The medians of clean heads, bleeds and craniectomies among them, lay within 3.5 HU of those around.
_OFF_HU = 15.0
#: What is off here goes on from what lies beyond.
_ENDS = 2
#: A slice of one value, or of hardly more than one, shows nothing whatever that value is.
_LEAST_RANGE_HU = 2.0
#: Every slice of a head has air around it, or all are cut so closely that none has.
_NO_AIR_HU, _AIR_PERCENTILE = 300.0, 1
#: With more spoiled slices than this nobody knows which ones are right.
_MOST_SPOILED = 0.34


@dataclass(frozen=True, kw_only=True)
class Spoiled:
    """Which slices of a scan can't be believed."""

    spoiled_S: Flags
    #: Between the first and the last slice with brain.
    within_S: Flags
    z_mm: NDArray[np.float64]

    @property
    def notes(self) -> tuple[Note, ...]:
        """SLICES_SPOILED."""
        if not self.spoiled_S.any():
            return ()
        return (Note(remark=Remark.SLICES_SPOILED, detail=places(self.spoiled_S, self.z_mm)),)

    @property
    def refusal(self) -> tuple[Reason, str] | None:
        """IMPLAUSIBLE_HU: a third of the brain or more is not shown as it is."""
        count, of = int(self.spoiled_S.sum()), int(self.within_S.sum())
        if count <= _MOST_SPOILED * of:
            return None
        return Reason.IMPLAUSIBLE_HU, f"{count} of {of} slices through the brain show nothing, or have other HU"


def spoiled_in(sections: Sections) -> Spoiled:
    """Judge each slice between the first and the last with brain by the median HU in the middle of the head.

    One window of the whole scan's brain, so that a slice without anything is asked as well.
    """
    with_brain = np.flatnonzero(sections.with_brain(_BRAIN_SHARE))
    within_S: Flags = np.zeros(len(sections.z_mm), dtype=np.bool_)
    spoiled_S: Flags = np.zeros_like(within_S)
    if with_brain.size:
        within_S[with_brain[0] : with_brain[-1] + 1] = True
        middle_HW = sections.brain_SHW[with_brain].mean(axis=0) >= _MIDDLE_SHARE
        if with_brain.size > _AROUND and middle_HW.any():
            spoiled_S[within_S] = _off(sections.hu_SHW[within_S][:, middle_HW])
    # Not only among the slices with brain: such a slice has none, and would set the end before itself.
    spoiled_S |= _without_picture(sections)
    within_S |= spoiled_S
    return Spoiled(spoiled_S=spoiled_S, within_S=within_S, z_mm=sections.z_mm)


def _off(middle_SP: NDArray[np.float32]) -> Flags:
    """Which slices differ from those around them, given the values in the middle of each [slices, places]."""
    medians = np.median(middle_SP, axis=1)
    around = [np.median(medians[max(0, i - _AROUND) : i + _AROUND + 1]) for i in range(len(medians))]
    off = np.asarray((np.abs(medians - around) > _OFF_HU) | (np.ptp(middle_SP, axis=1) < _LEAST_RANGE_HU))
    # At either end of the brain bone comes into the middle by and by, and neighbours lie to one side only.
    off[:_ENDS] = off[-_ENDS:] = False
    return off


def _without_picture(sections: Sections) -> Flags:
    """Which slices are blank between others that are not, or have no air although the others have."""
    values_SP = sections.hu_SHW.reshape(len(sections.z_mm), -1)
    blank_S = np.asarray(np.ptp(values_SP, axis=1) < _LEAST_RANGE_HU)
    shown = np.flatnonzero(~blank_S)
    if not shown.size:
        return blank_S
    lowest_S = np.percentile(values_SP, _AIR_PERCENTILE, axis=1)
    airless_S = ~blank_S & (lowest_S - np.median(lowest_S[shown]) > _NO_AIR_HU)
    blank_S[: shown[0]] = blank_S[shown[-1] :] = False
    return np.asarray(blank_S | airless_S)


def without(scan: HeadScan, spoiled_S: Flags) -> HeadScan:
    """The slices that can be believed, for looks at them.

    A blank slice would else be a jump of the head, and one of doubled values full of metal.
    """
    kept = np.flatnonzero(~spoiled_S)
    return replace(
        scan,
        hu_SHW=scan.hu_SHW[kept],
        z_mm=tuple(scan.z_mm[index] for index in kept),
        sources=tuple(scan.sources[index] for index in kept),
    )
