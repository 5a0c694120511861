"""Coded notes: what was noticed about the input of a reading, and survived.

A note stands beside the finding wherever that is shown: it says under which circumstances the model spoke. What must
keep it from speaking is a `Reason`. The codes are stable, like those of reasons; the meanings may be reworded.
"""

from dataclasses import dataclass
from enum import StrEnum


class Remark(StrEnum):
    """A stable code with the beginning of a sentence for people."""

    # How the slices lie.
    DUPLICATE_POSITIONS = "duplicate_positions"
    SLICES_MISSING = "slices_missing"
    SLICES_SPOILED = "slices_spoiled"
    UNEVEN_SPACING = "uneven_spacing"
    TILTED = "tilted"
    ACQUISITION_LEFT_OUT = "acquisition_left_out"
    IMAGES_LEFT_OUT = "images_left_out"
    THIN_SLICES_AVERAGED = "thin_slices_averaged"
    FRAMES_READ = "frames_read"
    # How they were acquired and stored.
    CONTRAST_AGENT = "contrast_agent"
    SHARP_KERNEL = "sharp_kernel"
    DERIVED_IMAGES = "derived_images"
    LOSSY_COMPRESSION = "lossy_compression"
    INVERTED_DISPLAY = "inverted_display"
    PADDING_IGNORED = "padding_ignored"
    HU_REPAIRED = "hu_repaired"
    # What the pixels show.
    MOTION = "motion"
    METAL = "metal"
    FIELD_OF_VIEW_CLIPPED = "field_of_view_clipped"
    VERTEX_MISSING = "vertex_missing"
    BASE_MISSING = "base_missing"
    NOT_SUPINE = "not_supine"
    ORIENTATION_DOUBTFUL = "orientation_doubtful"
    #: A sentence of a record that was written before notes had codes.
    UNCODED = "uncoded"

    @property
    def meaning(self) -> str:
        """One clause for people."""
        return MEANINGS[self]


MEANINGS: dict[Remark, str] = {
    Remark.DUPLICATE_POSITIONS: "slices at a position that another one holds were not read",
    Remark.SLICES_MISSING: "slices are missing",
    Remark.SLICES_SPOILED: "slices through the brain show nothing, or have other HU than their neighbours",
    Remark.UNEVEN_SPACING: "the slices are not evenly spaced",
    Remark.TILTED: "the slices are tilted against axial",
    Remark.ACQUISITION_LEFT_OUT: "the series holds several acquisitions, of which one was read",
    Remark.IMAGES_LEFT_OUT: "images of the series that do not fit to the others were not read",
    Remark.THIN_SLICES_AVERAGED: "thin slices were averaged before they were read",
    Remark.FRAMES_READ: "the frames of a multi-frame image were read as slices",
    Remark.CONTRAST_AGENT: "a contrast agent was given, which can look like blood",
    Remark.SHARP_KERNEL: "a sharp kernel was used, whose noise hides blood",
    Remark.DERIVED_IMAGES: "the images are derived from others",
    Remark.LOSSY_COMPRESSION: "slices may have gone through lossy compression",
    Remark.INVERTED_DISPLAY: "stored as MONOCHROME1; HU are not affected",
    Remark.PADDING_IGNORED: "Pixel Padding Value lies among tissue and was not believed",
    Remark.HU_REPAIRED: "the Rescale Intercept did not fit the stored values and was repaired",
    Remark.MOTION: "the patient moved",
    Remark.METAL: "metal hides parts of slices",
    Remark.FIELD_OF_VIEW_CLIPPED: "the field of view cuts off parts of the head",
    Remark.VERTEX_MISSING: "the scan ends below the top of the head",
    Remark.BASE_MISSING: "the scan begins above the base of the skull",
    Remark.NOT_SUPINE: "the patient did not lie on the back",
    Remark.ORIENTATION_DOUBTFUL: "the head lies otherwise than the header says",
    Remark.UNCODED: "noted",
}


@dataclass(frozen=True, kw_only=True)
class Note:
    """One remark about one input."""

    remark: Remark
    #: The numbers behind it, for people; no value of the patient's.
    detail: str = ""
    #: So much of the brain was not seen that the study is never a routine one, whatever the rest of it shows.
    unseen: bool = False

    def __str__(self) -> str:
        """One sentence without its full stop."""
        if self.remark is Remark.UNCODED:
            return self.detail
        return f"{self.remark.meaning}: {self.detail}" if self.detail else self.remark.meaning
