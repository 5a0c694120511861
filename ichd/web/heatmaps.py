"""Heat maps for people and programs: which there are, and each as a picture of its slice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import Response

from ichd.domain.finding import CLASSES, Finding
from ichd.domain.heatmap import HeatMap, maps_wanted
from ichd.domain.image_file import AnyImage
from ichd.domain.record import Record, finding_of
from ichd.domain.wording import class_label, percent
from ichd.store.catalogue import Catalogue
from ichd.store.criteria import Criteria
from ichd.store.heatmaps import HeatMaps
from ichd.store.studies import Studies
from ichd.vision.overlay import Caption, figure, heat_layer, overlay_picture, png, slice_picture, window_for
from ichd.vision.pixels import read_pixels
from ichd.vision.slices import read_header
from ichd.web.answers import HeatMapAnswer
from ichd.web.api import NO_STUDY, find_study
from ichd.web.dicomweb.files import require_here

#: A figure with its legend, the slice alone, the slice under its heat alone, or the heat alone, to lay over the slice.
View = Literal["figure", "slice", "heat", "layer"]


@dataclass(frozen=True, kw_only=True)
class HeatLine:
    """One heat map, beside what the finding says of its slice."""

    heat: HeatMap
    #: As a page names the class.
    label: str
    #: Counted from 1 at the most inferior slice.
    number: int
    slices: int
    z_mm: float
    probability: float
    #: Of the figure; more of the query picks another view.
    url: str

    @property
    def key(self) -> tuple[str, int | None, str]:
        """Which image, frame and class."""
        return self.heat.sop_instance_uid, self.heat.frame_number, self.heat.class_name

    @property
    def layer(self) -> str:
        """Address of the heat alone."""
        return self.url.replace("view=figure", "view=layer")

    @property
    def text(self) -> str:
        """The slice's probability for people."""
        return percent(self.probability)

    @property
    def alone(self) -> str:
        """What the model would say of the slice without its neighbours, for people."""
        return percent(self.heat.probability_alone)


def heat_lines(finding: Finding, maps: Sequence[HeatMap]) -> tuple[HeatLine, ...]:
    """The maps of a finding, by class and then the most suspicious slice first."""
    slices = finding.prediction.slices
    numbers = {(s.sop_instance_uid, s.frame_number): number for number, s in enumerate(slices, start=1)}
    lines = []
    for heat in maps:
        number = numbers.get((heat.sop_instance_uid, heat.frame_number))
        if number is None:
            continue  # made of an earlier reading, while a later one was being committed
        found = slices[number - 1]
        frame = "" if heat.frame_number is None else f"&frame={heat.frame_number}"
        lines.append(
            HeatLine(
                heat=heat,
                label=class_label(heat.class_name),
                number=number,
                slices=len(slices),
                z_mm=found.z_mm,
                probability=found.probabilities[CLASSES.index(heat.class_name)],
                url=f"/api/studies/{finding.prediction.study_instance_uid}/heatmaps/{heat.sop_instance_uid}/"
                f"{heat.class_name}.png?view=figure{frame}",
            )
        )
    return tuple(sorted(lines, key=lambda line: (CLASSES.index(line.heat.class_name), -line.probability)))


@dataclass(frozen=True, kw_only=True)
class HeatSection:
    """What a study's page says of its heat maps."""

    lines: tuple[HeatLine, ...]
    #: Whether there is something to be shown that no worker has made yet.
    awaited: bool

    @property
    def cell(self) -> str:
        """Width of a cell, for people: what a map can tell apart at best."""
        return f"{max(max(line.heat.cell_mm) for line in self.lines):.0f} mm"


def heat_section(finding: Finding | None, maps: Sequence[HeatMap] | None) -> HeatSection:
    """The section of a finding; `maps` is None until they are made."""
    if finding is None:
        return HeatSection(lines=(), awaited=False)
    return HeatSection(lines=heat_lines(finding, maps or ()), awaited=maps is None and bool(maps_wanted(finding)))


def caption_of(finding: Finding, line: HeatLine) -> Caption:
    """What stands around the figure of a heat map."""
    model = finding.prediction.model
    return Caption(
        title=f"{line.label}: {line.text}",
        subtitle=f"slice {line.number} of {line.slices}, counted from the feet; {line.alone} without its neighbours",
        footnotes=(
            f"{model.name} {model.version}" + (f", {model.statement}" if model.statement else ""),
            "The colours show where the model saw it, not what is there. An AI result is not a diagnosis.",
        ),
    )


def draw(image: AnyImage, finding: Finding, line: HeatLine, view: View, side: int) -> bytes:
    """The picture of a stored image under its heat, as PNG; `side` is the longer one of the image in it, pixels.

    The layer has the pixels of the stored image, whatever `side` says: who lays it over them scales both.

    Raises:
        NotAnalysable: the file is gone, no longer what it was, or can't be decoded any more.
        Transient: the disk fails.
    """
    header = read_header(image, line.heat.frame_number)
    if view == "layer":
        return png(heat_layer(line.heat, header.rows, header.columns))
    hu_HW, spacing_mm = read_pixels(header).hu_HW, header.pixel_spacing_mm
    match view:
        case "slice":
            return png(slice_picture(hu_HW, spacing_mm, window_for(line.heat.class_name), side))
        case "heat":
            return png(overlay_picture(hu_HW, line.heat, spacing_mm, side))
        case _:
            return png(figure(hu_HW, line.heat, spacing_mm, caption_of(finding, line), side=side))


def heat_maps_router(studies: Studies, heat_maps: HeatMaps, catalogue: Catalogue) -> APIRouter:
    """The routes of heat maps."""
    router = APIRouter(prefix="/api/studies/{study_uid}/heatmaps", tags=["heat maps"])

    @router.get(
        "",
        summary="The heat maps of a study's finding; empty until a worker had time to make them",
        response_model=None,
        responses={200: {"model": list[HeatMapAnswer]}, **NO_STUDY},
    )
    def list_heat_maps(study_uid: str) -> list[Record]:
        finding = finding_in(find_study(studies, study_uid).record)
        return [_shape(line) for line in heat_section(finding, heat_maps.of_study(study_uid)).lines]

    @router.get(
        "/{sop_uid}/{class_name}.png",
        summary="A slice under its heat, in the orientation of the stored image",
        response_class=Response,
        responses={
            200: {"content": {"image/png": {}}},
            404: {"description": "There is no such study or heat map."},
            410: {"description": "The image was dropped by retention."},
        },
    )
    def show_heat_map(
        study_uid: str,
        sop_uid: str,
        class_name: str,
        frame: int | None = None,
        view: View = "figure",
        side: Annotated[int, Query(ge=64, le=1024)] = 512,
    ) -> Response:
        finding = finding_in(find_study(studies, study_uid).record)
        lines = heat_section(finding, heat_maps.of_study(study_uid)).lines
        line = next((each for each in lines if each.key == (sop_uid, frame, class_name)), None)
        image = Criteria(study_uids=(study_uid,), instance_uids=(sop_uid,))
        found = catalogue.instances(image, limit=1) if line else []
        if finding is None or line is None or not found:
            raise HTTPException(
                404, f"There is no such heat map; /api/studies/{study_uid}/heatmaps lists those there are."
            )
        require_here(found)
        catalogue.bring(found)
        return Response(draw(found[0].file, finding, line, view, side), media_type="image/png")

    return router


def finding_in(record: Record | None) -> Finding | None:
    """The finding of a record; None where nothing was read."""
    return finding_of(record) if record and record["scan"] is not None else None


def _shape(line: HeatLine) -> Record:
    return {
        "sop_uid": line.heat.sop_instance_uid,
        "frame": line.heat.frame_number,
        "class": line.heat.class_name,
        "slice": line.number,
        "z_mm": line.z_mm,
        "p": line.probability,
        "p_alone": line.heat.probability_alone,
        "png": line.url,
    }
