"""Embedding the slices of a study while it still arrives, so that little is left to do when it is complete.

The CNN sees one slice at a time; only the sequence model needs them all. Where a bundle cuts the head out of the image
this does not hold, because the cut is found in the whole scan: such a bundle's slices wait.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import structlog

from ichd.domain.errors import NotAnalysable, Transient
from ichd.domain.image_kind import ImageKind, kind_of
from ichd.domain.kernel import is_sharp
from ichd.domain.placed import THIN_BELOW_MM
from ichd.domain.reason import Reason
from ichd.domain.refusal import SelectionPolicy, refusal_of
from ichd.domain.study import InstanceFacts
from ichd.pipeline.clock import Clock, utc_now
from ichd.store.arriving import Arriving, ArrivingImage
from ichd.store.embeddings import Embedding, Embeddings, SliceKey, slice_key
from ichd.vision.reader import Reader
from ichd.vision.scan import HeadScan, SliceSource, load_scan

log = structlog.get_logger(__name__)

#: What a single slice can be held to.
_ONE_SLICE = SelectionPolicy(min_positions=1, min_coverage_mm=0.0)


class Ahead:
    """The idle work of one worker: of the images that are likely to be read, those that arrived first.

    Several workers may do it side by side. Whoever takes an image up marks it, and the others pass over it: to share
    them out by their checksums would need to know how many workers there are, and would leave the rest of a worker that
    is busy undone. A study is worked on by as many at once as may die over it: no job counts these deaths, and a study
    whose every slice kills must not cost more of them than its reading may.
    """

    def __init__(
        self, *, arriving: Arriving, reader: Reader, embeddings: Embeddings, clock: Clock, deaths_allowed: int
    ) -> None:
        """After `deaths_allowed` deaths of workers a study is left to its reading, which says what is wrong."""
        self._arriving = arriving
        self._reader = reader
        self._embeddings = embeddings
        self._clock = clock
        self._deaths_allowed = deaths_allowed
        #: Numbers of the images that were looked at, whatever came of it, while their study arrives.
        self._met: frozenset[int] = frozenset()
        self._pending: list[ArrivingImage] = []
        #: Studies of which it was said that they are left to their reading.
        self._told: frozenset[str] = frozenset()

    def step(self) -> bool:
        """Embed as many slices as take the time of one; False where none is left to be embedded.

        What goes wrong with an image is not said here: the study will be read all the same, and tell.

        Raises:
            Transient: the database or the disk fails.
        """
        self._look()
        with ExitStack() as marks:
            taken: list[tuple[SliceKey, HeadScan]] = []
            admitted: dict[str, bool] = {}
            for image in tuple(self._pending):
                if len(taken) == self._reader.at_once:
                    break
                study = image.facts.study_instance_uid
                if study not in admitted:
                    admitted[study] = self._is_admitted(study, marks)
                if admitted[study]:
                    self._pending.remove(image)
                    taken += self._taken_up(image, marks)
            together = self._reader.embed_together([scan for _, scan in taken]) if taken else []
            for (key, scan), (values_F,) in zip(taken, together, strict=True):
                embedding = Embedding(values_F=values_F, made_at=self._clock(), ahead=True)
                self._embeddings.put(key, scan.hu_SHW[0], embedding)
        return bool(taken)

    def _look(self) -> None:
        """Take note of what came, and drop what belongs to studies that are complete: their job embeds it."""
        arriving = self._arriving.numbers()
        fresh = self._arriving.images(tuple(arriving - self._met)) if arriving - self._met else []
        self._met = (self._met & arriving) | {image.number for image in fresh}
        self._pending = [image for image in self._pending if image.number in arriving]
        self._pending += [image for image in fresh if is_read_alone(image.facts)]
        self._pending.sort(key=_rank)

    def _is_admitted(self, study: str, marks: ExitStack) -> bool:
        """Whether slices of a study may be seen; those of others stay pending, until somebody's mark is off."""
        if marks.enter_context(self._embeddings.being_seen(study, at_most=self._deaths_allowed)):
            return True
        # Marks are files, and have the times of this machine, whatever clock the database goes by.
        deaths = self._embeddings.deaths_over(study, utc_now())
        if deaths >= self._deaths_allowed and study not in self._told:
            self._told |= {study}
            log.warning("study_not_seen_ahead", study=study, deaths=deaths, mend="none needed: its reading decides")
        return False

    def _taken_up(self, image: ArrivingImage, marks: ExitStack) -> Iterator[tuple[SliceKey, HeadScan]]:
        """Key and slice of an image that nobody has embedded or has in hand; marked as ours until `marks` ends."""
        key = slice_key([(image.stored, None)])
        if self._embeddings.holds(key) or not marks.enter_context(self._embeddings.being_made(key)):
            return
        try:
            self._arriving.bring(image)
        except Transient as trouble:
            if trouble.reason is not Reason.NOT_UPLOADED:
                raise
            # Where it came in it is seen ahead; and once the study is complete, its job brings it.
            return
        try:
            yield key, load_scan([SliceSource(path=image.file)])
        except NotAnalysable as refusal:
            log.debug("slice_not_read_ahead", study=image.facts.study_instance_uid, reason=refusal.reason)


def is_read_alone(image: InstanceFacts) -> bool:
    """Whether the header allows that the image will be read, and read as it is.

    Thin slices will be averaged, and which of them together is seen in the whole scan. Images of many frames come at
    once, so that nothing of them can be seen ahead.
    """
    thin = image.slice_thickness_mm is not None and image.slice_thickness_mm < THIN_BELOW_MM
    return not thin and refusal_of((image,), _ONE_SLICE) is None


def _rank(image: ArrivingImage) -> tuple[bool, bool, int]:
    """Most studies hold one series that will be read and others of the same slices; what they are likelier to be first.

    A guess from two facts only: the ranking itself weighs whole series, and these are not here yet.
    """
    sharp = is_sharp(image.facts.convolution_kernel, image.facts.series_description)
    return sharp, kind_of(image.facts) is not ImageKind.SLICE, image.number
