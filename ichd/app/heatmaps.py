"""`ichd predict --heatmaps`: the key slices of what was found, each without and with its heat, as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ichd.domain.errors import UserError
from ichd.domain.heatmap import HeatMap, maps_wanted
from ichd.domain.image_file import AnyImage
from ichd.domain.record import Record
from ichd.pipeline.heat import index_of, load_again, shows
from ichd.vision.attribution import Attribution
from ichd.vision.reader import Reader
from ichd.web.heatmaps import HeatLine, draw, finding_in, heat_lines


def write_heat_maps(
    record: Record, files: Mapping[str, AnyImage], reader: Reader, folder: Path, *, only: Sequence[str] = ()
) -> list[Record]:
    """Write the pictures of one series, and say which; with `only`, of these classes.

    `files` by SOP Instance UID. A series without a finding has none.

    Raises:
        UserError: the folder can't be written, or the model's network has no feature maps.
    """
    finding = finding_in(record)
    wanted = maps_wanted(finding, only=only) if finding else ()
    if finding is None or not wanted:
        return []
    attribution = Attribution(reader.engine.bundle)
    scan = load_again(finding.prediction, files)
    embeddings_SF = reader.embed(scan, range(len(scan.hu_SHW)))
    maps: list[HeatMap] = []
    for each in wanted:
        found = attribution.maps(scan, index_of(scan, each.slice), each.class_names, embeddings_SF)
        maps += [heat for heat in found if shows(heat, each.slice)]
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for line in heat_lines(finding, maps):
            path = folder / _name(record["series_uid"], line)
            path.write_bytes(draw(files[line.heat.sop_instance_uid], finding, line, "figure", 512))
            written.append({"path": str(path), "class": line.heat.class_name, "sop_uid": line.heat.sop_instance_uid})
    except OSError as error:
        raise UserError(f"{folder} can't be written ({error.strerror}); name another folder by --heatmaps") from error
    return written


def _name(series_uid: str, line: HeatLine) -> str:
    """Of one series' pictures, those of a class stand together, in the order of the slices."""
    return f"{series_uid}-{line.heat.class_name}-{line.number:03d}.png"
