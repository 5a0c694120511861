"""How many CT images a study has at its source: evidence of completeness."""

from ichd.intake.ask.archive import archive_of
from ichd.intake.ask.find import find_ct_series, find_images
from ichd.intake.ask.sources import Source


def count_ct_images(source: Source, study_uid: str) -> int | None:
    """The number of CT images that the source has of the study; None where it has none of it, and so can't know.

    One question at series level where the archive counts the images of a series, one more for each series where not.

    Raises:
        Transient: the source does not answer, or is busy.
        Permanent: it does not answer such questions.
    """
    with archive_of(source) as archive:
        counted = 0
        for series in find_ct_series(archive, study_uid):
            if series.images is not None:
                counted += series.images
            else:
                images, _ = find_images(archive, study_uid, series.series_uid)
                counted += len(images)
    return counted or None
