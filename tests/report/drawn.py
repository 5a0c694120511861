"""Pictures, heat maps and key images of findings that have no files: what the pipeline would hand over."""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from ichd.domain.finding import Finding, SlicePrediction
from ichd.domain.heatmap import HeatMap
from ichd.report.capture import HeatPicture
from ichd.report.key_image import DisplayWindow, HeatField, KeyImage
from ichd.report.leading import top_slice
from ichd.report.summary import PANEL, Panel, Pictures

ROWS, COLUMNS = 64, 48
WINDOWS = {
    "any": DisplayWindow(name="brain", level=40, width=80),
    "intraparenchymal": DisplayWindow(name="brain", level=40, width=80),
    "intraventricular": DisplayWindow(name="brain", level=40, width=80),
    "subarachnoid": DisplayWindow(name="brain", level=40, width=80),
    "subdural": DisplayWindow(name="subdural", level=75, width=215),
    "epidural": DisplayWindow(name="subdural", level=75, width=215),
}


def pictures(finding: Finding, *, heat: bool = True) -> Pictures:
    """Grey panels, each of another grey."""
    windows = [
        Panel(title=f"{name} window", detail=f"level {10 * grey}", picture=Image.new("L", (PANEL, PANEL), grey))
        for grey, name in ((60, "Brain"), (90, "Subdural"), (120, "Bone"))
    ]
    hot = Image.new("RGB", (PANEL, PANEL), (200, 90, 30))
    return Pictures(
        slice=top_slice(finding),
        windows=windows,
        heat=Panel(
            title="Heat map", detail="", picture=hot if heat else None, instead="No heat map: nothing is called."
        ),
        scale=Image.new("RGB", (PANEL, 32), (200, 90, 30)) if heat else None,
    )


def heat_map(key: SlicePrediction, class_name: str) -> HeatMap:
    """One hot cell of four by three."""
    cells = np.zeros((4, 3), dtype=np.uint8)
    cells[1, 1] = 255
    return HeatMap(
        sop_instance_uid=key.sop_instance_uid,
        frame_number=key.frame_number,
        class_name=class_name,
        cells=tuple(row.tobytes() for row in cells),
        first_cell=(7.5, 7.5),
        cell_pitch=(16.0, 16.0),
        cell_mm=(8.0, 8.0),
        probability_alone=0.5,
    )


def heat_maps(finding: Finding) -> Iterable[tuple[SlicePrediction, HeatMap]]:
    """One of each key slice and class."""
    for found in finding.classes:
        for key in found.key_slices:
            yield key, heat_map(key, found.name)


def heat_pictures(finding: Finding) -> list[HeatPicture]:
    """Each of another colour, with an odd number of bytes."""
    return [
        HeatPicture(heat=heat, picture=Image.new("RGB", (33, 35), (20 * number, 40, 60)))
        for number, (_, heat) in enumerate(heat_maps(finding))
    ]


def heat_fields(finding: Finding) -> list[HeatField]:
    """A ramp on each."""
    ramp = np.linspace(0, 1, ROWS * COLUMNS, dtype=np.float32).reshape(ROWS, COLUMNS)
    return [HeatField(heat=heat, heat_HW=ramp, image=key_image(key)) for key, heat in heat_maps(finding)]


def key_image(key: SlicePrediction, *, slope: float = 1.0, intercept: float = -1024.0) -> KeyImage:
    """An axial image at the slice's place."""
    return KeyImage(
        sop_instance_uid=key.sop_instance_uid,
        sop_class_uid=key.sop_class_uid,
        frame_number=key.frame_number,
        rows=ROWS,
        columns=COLUMNS,
        position=(-12.0, -16.0, key.z_mm),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        pixel_spacing_mm=(0.5, 0.5),
        slice_thickness_mm=5.0,
        frame_of_reference_uid="2.25.44444",
        slope=slope,
        intercept=intercept,
    )
