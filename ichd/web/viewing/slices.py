"""Stored images, decoded for viewers: each once, whoever looks at it, and kept in memory while there is room."""

import threading
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ichd.domain.errors import NotAnalysable
from ichd.domain.image_file import ImageFile
from ichd.domain.reason import Reason
from ichd.store.catalogue import CataloguedInstance
from ichd.vision.overlay import sides_of
from ichd.vision.parsed import ParsedFile, parse
from ichd.vision.pixels import read_pixels
from ichd.vision.slices import SliceHeader, headers_of, read_header
from ichd.web.dicomweb.files import read_whole
from ichd.web.dicomweb.rendered import Rendering, render
from ichd.web.viewing.shelf import Shelf
from ichd.web.viewing.wire import WireHead, packed

#: Some 350 slices of 512x512 as they are sent: the studies that are looked at by a ward at one time.
_KEPT_BYTES = 64 << 20
#: Images that are decoded at the same time; the pages and doors of this process need a core, too.
_AT_A_TIME = 2
#: What is no damage: the image is a picture of another kind, and is shown as one.
_NO_SLICE = frozenset(
    {Reason.MISSING_GEOMETRY, Reason.NO_HOUNSFIELD_UNITS, Reason.PIXELS_UNREADABLE, Reason.MULTI_FRAME}
)


class Slices:
    """Safe for any number of threads."""

    def __init__(self) -> None:
        self._shelf = Shelf(_KEPT_BYTES)
        self._turns = threading.BoundedSemaphore(_AT_A_TIME)
        self._parsing = threading.Lock()
        #: The last image with several frames: to parse and hash it for each of them would take seconds.
        self._frames: ParsedFile | None = None

    def packed(self, instance: CataloguedInstance, frame_number: int | None) -> bytes:
        """A slice as `ichd.web.viewing.wire` describes it; `frame_number` counts from 1, None for a whole image.

        Raises:
            Permanent: the file is damaged, or there is no decoder for it, or no such frame.
            Transient: the disk fails.
        """

        def make() -> bytes:
            with self._turns:
                return self._make(instance, frame_number)

        return self._shelf.get((instance.stored.sha256, frame_number), make)

    def _make(self, instance: CataloguedInstance, frame_number: int | None) -> bytes:
        try:
            header = self._header(instance.file, frame_number)
            return packed(_head(header), read_pixels(header).hu_HW)
        except NotAnalysable as error:
            if error.reason not in _NO_SLICE:
                raise
            grey_HW = _grey(instance, frame_number)
            return packed(_head_of_picture(grey_HW, error.reason), grey_HW)

    def _header(self, image: ImageFile, frame_number: int | None) -> SliceHeader:
        if frame_number is None:
            return read_header(image)
        with self._parsing:
            if self._frames is None or self._frames.sha256 != image.sha256:
                self._frames = parse(image)
            frames = self._frames
        (header,) = headers_of(frames, (frame_number,))
        return header


def _head(header: SliceHeader) -> WireHead:
    left, right = sides_of(header.orientation)
    upper, lower = sides_of((*header.orientation[3:], *header.orientation[:3]))
    return WireHead(
        rows=header.rows,
        columns=header.columns,
        unit="HU",
        spacing_mm=header.pixel_spacing_mm,
        sides=(left, right, upper, lower),
        note="compressed with loss" if header.lossy else "",
    )


def _head_of_picture(grey_HW: NDArray[np.int16], reason: Reason) -> WireHead:
    rows, columns = grey_HW.shape
    return WireHead(rows=rows, columns=columns, unit="grey", note=reason.meaning)


def _grey(instance: CataloguedInstance, frame_number: int | None) -> NDArray[np.int16]:
    """The image in its own window, in grey: a dose page, a screen save, a scout without geometry."""
    drawn = render(read_whole(instance), (frame_number or 1) - 1, Rendering(media_type="image/png"))
    with Image.open(BytesIO(drawn)) as picture:
        return np.asarray(picture.convert("L"), dtype=np.int16)
