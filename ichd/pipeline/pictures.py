"""From a finding, its files and its heat maps to what a page and its companions show: where pixels meet the report."""

from collections.abc import Mapping, Sequence

from PIL import Image

from ichd.domain.errors import NotAnalysable
from ichd.domain.finding import CLASSES, Finding, SlicePrediction
from ichd.domain.heatmap import HeatMap, maps_wanted
from ichd.domain.image_file import AnyImage
from ichd.domain.reason import Reason
from ichd.domain.wording import class_label, percent
from ichd.report.capture import HeatPicture
from ichd.report.document import NOT_A_DIAGNOSIS
from ichd.report.drawing import plain_letters
from ichd.report.key_image import DisplayWindow, HeatField, KeyImage
from ichd.report.leading import leading_kind, marked_slices, slice_numbers, top_slice
from ichd.report.summary import PANEL, Panel, Pictures
from ichd.vision.heatmap import spread
from ichd.vision.overlay import (
    HU,
    Caption,
    figure,
    mark_sides,
    overlay_picture,
    scale_picture,
    sides_of,
    slice_picture,
    window_for,
)
from ichd.vision.pixels import read_pixels
from ichd.vision.slices import SliceHeader, read_header
from ichd.vision.window import PAPER_WINDOWS, Window

#: Of the image in a heat map's picture, pixels: two of them and a margin make a picture of some 800.
HEAT_SIDE = 384

_NOTHING_CALLED = (
    "No heat map: no haemorrhage is called. Heat is relative to its slice and would mark a spot of any healthy brain."
)
_NOT_MADE = "No heat map was made of this slice."


def summary_pictures(finding: Finding, files: Mapping[str, AnyImage], maps: Sequence[HeatMap]) -> Pictures:
    """What the summary page shows of the scan; `files` by SOP Instance UID, `maps` as far as there are any.

    A slice that can't be drawn any more leaves its panels empty, with the reason: the page still says what was found.

    Raises:
        Transient: STORE_UNAVAILABLE, the disk fails.
    """
    key = top_slice(finding)
    try:
        header, hu_HW = _image(files, key)
    except NotAnalysable as refusal:
        why = f"The slice can't be shown: {refusal.reason.meaning}."
        empty = [_window_panel(window, None, why) for window in PAPER_WINDOWS]
        heat = Panel(title="Heat map", detail="", picture=None, instead=why)
        return Pictures(slice=key, windows=empty, heat=heat, scale=None)
    spacing_mm, sides = header.pixel_spacing_mm, sides_of(header.orientation)
    heat_map = _heat_of(finding, key, maps)
    windows = []
    for window in PAPER_WINDOWS:
        picture = slice_picture(hu_HW, spacing_mm, window, PANEL)
        mark_sides(picture, sides)
        windows.append(_window_panel(window, picture))
    if heat_map is None:
        instead = _NOT_MADE if maps_wanted(finding) else _NOTHING_CALLED
        heat = Panel(title="Heat map", detail="", picture=None, instead=instead)
        return Pictures(slice=key, windows=windows, heat=heat, scale=None)
    hot = overlay_picture(hu_HW, heat_map, spacing_mm, PANEL)
    mark_sides(hot, sides)
    heat = Panel(title="Heat map", detail=class_label(heat_map.class_name).lower(), picture=hot)
    return Pictures(slice=key, windows=windows, heat=heat, scale=scale_picture(PANEL))


def heat_pictures(finding: Finding, files: Mapping[str, AnyImage], maps: Sequence[HeatMap]) -> tuple[HeatPicture, ...]:
    """A picture of each map of a finding: the slice without and with its heat, and what must be known to read it.

    Raises:
        NotAnalysable: an image is gone or can't be decoded any more.
        Transient: STORE_UNAVAILABLE, the disk fails.
    """
    pictures = []
    for key, heat in _maps_of(finding, maps):
        header, hu_HW = _image(files, key)
        pictures.append(
            HeatPicture(
                heat=heat,
                picture=figure(
                    hu_HW,
                    heat,
                    header.pixel_spacing_mm,
                    _caption(finding, key, heat),
                    side=HEAT_SIDE,
                    sides=sides_of(header.orientation),
                ),
            )
        )
    return tuple(pictures)


def heat_fields(finding: Finding, files: Mapping[str, AnyImage], maps: Sequence[HeatMap]) -> tuple[HeatField, ...]:
    """The heat of each map on the grid of its stored image, and where that lies.

    Raises:
        NotAnalysable, Transient: as `heat_pictures`.
    """
    fields = []
    for key, heat in _maps_of(finding, maps):
        header = read_header(_file(files, key), key.frame_number)
        fields.append(
            HeatField(heat=heat, heat_HW=spread(heat, header.rows, header.columns), image=_key_image(key, header))
        )
    return tuple(fields)


def key_images(finding: Finding, files: Mapping[str, AnyImage]) -> tuple[KeyImage, ...]:
    """The stored images of the key slices, the top slice where there are none; from inferior to superior.

    Raises:
        NotAnalysable, Transient: as `heat_pictures`.
    """
    keys = marked_slices(finding) or (top_slice(finding),)
    return tuple(_key_image(key, read_header(_file(files, key), key.frame_number)) for key in keys)


def display_windows() -> dict[str, DisplayWindow]:
    """The window in which each class is looked for."""
    windows = {name: window_for(name) for name in CLASSES}
    return {
        name: DisplayWindow(name=window.name, level=window.level, width=window.width)
        for name, window in windows.items()
    }


def _window_panel(window: Window, picture: Image.Image | None, instead: str = "") -> Panel:
    return Panel(
        title=f"{window.name.capitalize()} window",
        detail=f"level {window.level}, width {window.width}",
        picture=picture,
        instead=instead,
    )


def _heat_of(finding: Finding, key: SlicePrediction, maps: Sequence[HeatMap]) -> HeatMap | None:
    """The map of a slice in the kind that it is shown for, else in `any`."""
    leading = leading_kind(finding)
    here = {heat.class_name: heat for shown, heat in _maps_of(finding, maps) if shown == key}
    return (here.get(leading.name) if leading else None) or here.get(CLASSES[0])


def _maps_of(finding: Finding, maps: Sequence[HeatMap]) -> list[tuple[SlicePrediction, HeatMap]]:
    """The maps of the finding's key slices, by class and then the best slice first, each beside its slice.

    Others were made of an earlier reading.
    """
    made = {(heat.class_name, heat.sop_instance_uid, heat.frame_number): heat for heat in maps}
    asked = [(found.name, key) for found in finding.classes for key in found.key_slices]
    found = [(key, made.get((name, key.sop_instance_uid, key.frame_number))) for name, key in asked]
    return [(key, heat) for key, heat in found if heat is not None]


def _caption(finding: Finding, key: SlicePrediction, heat: HeatMap) -> Caption:
    model = finding.prediction.model
    number = slice_numbers(finding)[key.sop_instance_uid, key.frame_number]
    probability = key.probabilities[CLASSES.index(heat.class_name)]
    alone = percent(heat.probability_alone)
    return Caption(
        title=f"{class_label(heat.class_name)}: {percent(probability)}",
        subtitle=f"slice {number} of {len(finding.prediction.slices)}, counted from the feet; "
        f"{alone} without its neighbours",
        footnotes=(
            plain_letters(f"{model.name} {model.version}" + (f", {model.statement}" if model.statement else "")),
            f"The colours show where the model saw it, not what is there. {NOT_A_DIAGNOSIS}",
        ),
    )


def _file(files: Mapping[str, AnyImage], key: SlicePrediction) -> AnyImage:
    path = files.get(key.sop_instance_uid)
    if path is None:
        raise NotAnalysable(Reason.FILE_DAMAGED, "the image of a key slice is gone")
    return path


def _image(files: Mapping[str, AnyImage], key: SlicePrediction) -> tuple[SliceHeader, HU]:
    header = read_header(_file(files, key), key.frame_number)
    return header, read_pixels(header).hu_HW


def _key_image(key: SlicePrediction, header: SliceHeader) -> KeyImage:
    return KeyImage(
        sop_instance_uid=key.sop_instance_uid,
        sop_class_uid=key.sop_class_uid,
        frame_number=key.frame_number,
        rows=header.rows,
        columns=header.columns,
        position=header.position,
        orientation=header.orientation,
        pixel_spacing_mm=header.pixel_spacing_mm,
        slice_thickness_mm=header.slice_thickness_mm,
        frame_of_reference_uid=header.frame_of_reference_uid,
        slope=header.slope,
        intercept=header.intercept,
    )
