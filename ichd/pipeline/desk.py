"""What the objects about one revision of a study are made of."""

from collections.abc import Mapping, Sequence
from functools import cached_property

import pydicom
import structlog
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from ichd import __version__
from ichd.domain.errors import NotAnalysable, Permanent
from ichd.domain.finding import Finding
from ichd.domain.heatmap import HeatMap, MapWanted, maps_wanted
from ichd.domain.image_file import AnyImage, Bring, all_here, path_of, sha256_of
from ichd.domain.reason import Reason
from ichd.domain.record import finding_of, skipped_of
from ichd.pipeline.heat import Explains, Reading
from ichd.report.document import ReportContext
from ichd.report.hl7_letter import Addressee
from ichd.report.identity import Edition
from ichd.report.leading import leading_kind, marked_slices, top_slice
from ichd.report.source import legible
from ichd.store.contents import DeliveryWork, ReadImages
from ichd.store.heatmaps import HeatMaps
from ichd.vision.parsed import opened

log = structlog.get_logger(__name__)


class Desk:
    """What the objects of one revision are made of, each fetched when the first of them needs it."""

    def __init__(
        self, work: DeliveryWork, addressee: Addressee, heat_maps: HeatMaps, explainer: Explains | None
    ) -> None:
        self.work = work
        self.addressee = addressee
        self._heat_maps = heat_maps
        self._explainer = explainer

    @cached_property
    def finding(self) -> Finding | None:
        """None of a study that was not analysed."""
        return finding_of(self.work.record) if self.work.record["scan"] is not None else None

    @cached_property
    def images(self) -> ReadImages:
        """What the finding was read from, or whatever was there where nothing was read."""
        images = self.work.images()
        if self.finding is not None:
            # Those that pages show; the header of any of them serves the others.
            drawn = (*marked_slices(self.finding), top_slice(self.finding))
            images.bring([each.sop_instance_uid for each in drawn])
        return images

    @cached_property
    def sources(self) -> list[Dataset]:
        """Header of one image: that of a slice that was read where one was."""
        read = [s.sop_instance_uid for s in self.finding.prediction.slices] if self.finding else []
        return [legible(read_source(self.images.files, read, self.images.bring))]

    @cached_property
    def context(self) -> ReportContext:
        """The same for all objects of the revision."""
        work, earlier = self.work, self.work.predecessor
        return ReportContext(
            revision=work.revision,
            created_at=work.created_at,
            # Of the software that made the finding, so that a resend after an upgrade says the same.
            software_version=work.record.get("software_version", __version__),
            predecessor=None
            if earlier is None
            else Edition(
                study_instance_uid=work.study_uid, revision=earlier.revision, bundle_sha256=earlier.bundle_sha256
            ),
            skipped=skipped_of(work.record),
        )

    @property
    def edition(self) -> Edition:
        """What the UIDs of this revision's objects follow from."""
        model = self.work.record["model"]
        return Edition(
            study_instance_uid=self.work.study_uid,
            revision=self.work.revision,
            bundle_sha256=model["bundle_sha256"] if model else "",
        )

    @cached_property
    def leading_heat(self) -> Sequence[HeatMap]:
        """That of the top slice in the kind that it is shown for, which a page can't wait for all others for."""
        if self.finding is None or self._kept is not None:
            return self._kept or ()
        top, leading = top_slice(self.finding), leading_kind(self.finding)
        wanted = [
            MapWanted(slice=each.slice, class_names=(leading.name,) if leading else each.class_names[:1])
            for each in maps_wanted(self.finding)
            if each.slice == top
        ]
        return self._explained(self.finding, wanted) or ()

    @cached_property
    def heat(self) -> Sequence[HeatMap]:
        """Every map that the finding asks for, made now where no worker has had the time."""
        if self.finding is None or self._kept is not None:
            return self._kept or ()
        maps = self._explained(self.finding, maps_wanted(self.finding))
        if maps is None:
            return ()
        self._heat_maps.keep_of(self.work.study_id, self.work.revision, self.work.study_uid, maps)
        return maps

    @cached_property
    def _kept(self) -> tuple[HeatMap, ...] | None:
        return self._heat_maps.of_revision(self.work.study_id, self.work.revision, self.work.study_uid)

    def _explained(self, finding: Finding, wanted: Sequence[MapWanted]) -> list[HeatMap] | None:
        """None where this worker can't explain the finding."""
        explainer = self._explainer.of(finding) if self._explainer is not None and wanted else None
        if explainer is None:
            return None
        work = self.work
        reading = Reading(
            study_id=work.study_id,
            revision=work.revision,
            finding=finding,
            files=self.images.files,
            stored=self.images.stored,
            bring=self.images.bring,
        )
        try:
            seen = explainer.see(reading)
            return [heat for each in wanted for heat in explainer.maps(seen, each)]
        except NotAnalysable as refusal:
            # The report says what was found all the same.
            log.warning("heat_maps_not_made", study=work.study_uid, reason=refusal.reason, detail=refusal.detail)
            return None


def read_source(files: Mapping[str, AnyImage], first: Sequence[str], bring: Bring = all_here) -> Dataset:
    """Header of an image, for patient and study; the first whose file still is one, those of `first` before others.

    Raises:
        Permanent: FILE_DAMAGED, none of them is, with the bytes that were received.
        Transient: STORE_UNAVAILABLE, the disk fails.
    """
    uids = dict.fromkeys([*(uid for uid in first if uid in files), *files])
    for uid in uids:
        bring([uid])
        try:
            with opened(path_of(files[uid]), sha256_of(files[uid])) as file:
                return pydicom.dcmread(file, stop_before_pixels=True)
        except (NotAnalysable, InvalidDicomError):
            log.warning("stored_file_unreadable", file=path_of(files[uid]).name)
    raise Permanent(Reason.FILE_DAMAGED, f"none of {len(files)} files")
