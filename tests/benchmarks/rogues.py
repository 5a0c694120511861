"""Senders that behave as badly as real ones, and remember every image that was acknowledged to them."""

import hashlib
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
from pydicom.uid import generate_uid

from ichd.domain.study import CT_IMAGE_STORAGE
from ichd.intake.part10 import file_meta
from tests.intake.images import EXPLICIT, encode, image
from tests.intake.senders import SUCCESS, Sender

#: Rows and columns; most are small, so that many associations fit in a minute.
_SIZES = (16, 64, 64, 512)


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One image, encoded."""

    sop_instance_uid: str
    dataset: bytes

    @property
    def file(self) -> bytes:
        """The same as it must lie in the spool."""
        meta = file_meta(
            sop_class_uid=CT_IMAGE_STORAGE, sop_instance_uid=self.sop_instance_uid, transfer_syntax_uid=EXPLICIT
        )
        return meta + self.dataset


class Study:
    """A study that grows: each slice has a position of its own."""

    def __init__(self, chance: random.Random) -> None:
        self._uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
        self._side = chance.choice(_SIZES)
        self._chance = chance
        self._count = 0
        self.slices: list[Slice] = []

    def grow(self, count: int) -> list[Slice]:
        """So many more slices."""
        new = [self._slice(generate_uid()) for _ in range(count)]
        self.slices += new
        return new

    def other_bytes(self, of: Slice) -> Slice:
        """Another image under the same SOP Instance UID."""
        return self._slice(of.sop_instance_uid)

    def _slice(self, uid: str) -> Slice:
        self._count += 1
        pixels = self._chance.randbytes(2 * self._side * self._side)
        facts = image(self._count, SOPInstanceUID=uid, Rows=self._side, Columns=self._side, PixelData=pixels)
        for keyword, value in self._uids.items():
            setattr(facts, keyword, value)
        return Slice(sop_instance_uid=uid, dataset=encode(facts))


@dataclass(kw_only=True)
class Ledger:
    """What the receiver said yes to, by SHA-256 of the file that it must hold; shared by all senders."""

    acknowledged: dict[str, str] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def acknowledge(self, slices: Iterable[Slice]) -> None:
        """These were answered with success."""
        with self._lock:
            for each in slices:
                self.acknowledged[hashlib.sha256(each.file).hexdigest()] = each.sop_instance_uid

    def count(self, what: str) -> None:
        """One more of these."""
        with self._lock:
            self.done[what] += 1


class Rogue:
    """One sender in a thread of its own, until it is told to stop; a receiver that is away is no reason to stop."""

    def __init__(self, *, dicom_port: int, web_port: int, ledger: Ledger, seed: int) -> None:
        self._dicom_port = dicom_port
        self._studies_url = f"http://127.0.0.1:{web_port}/dicom-web/studies"
        self._ledger = ledger
        self._chance = random.Random(seed)
        self._sent: list[Study] = []

    def run(self, stop: threading.Event, *, rest_s: float = 0.0) -> None:
        """Misbehave until `stop`, with a rest after each deed."""
        deeds: list[tuple[int, Callable[[], None]]] = [
            (6, self._send_whole),
            (3, self._send_and_break_off),
            (2, self._send_over_the_web),
            (2, self._open_an_association_per_image),
            (2, self._interleave_two_studies),
            (2, self._send_again),
            (2, self._send_late_slice),
            (1, self._send_other_bytes),
        ]
        weights = [weight for weight, _ in deeds]
        while not stop.is_set():
            _, deed = self._chance.choices(deeds, weights)[0]
            try:
                deed()
            except (_Away, OSError, httpx.HTTPError):
                self._ledger.count("receiver away")
                stop.wait(0.2)
            else:
                self._ledger.count(deed.__name__.strip("_").replace("_", " "))
            stop.wait(rest_s)

    def _send_whole(self) -> None:
        self._send(self._new_study().slices)

    def _send_and_break_off(self) -> None:
        study = self._new_study()
        cut = self._chance.randrange(len(study.slices))
        with self._association() as sender:
            self._store(sender, study.slices[:cut])
            torn = study.slices[cut]
            sender.break_off(torn.dataset, torn.sop_instance_uid)
        if self._chance.random() < 0.7:
            self._send(study.slices)

    def _send_over_the_web(self) -> None:
        slices = self._new_study().slices
        boundary = "between-two-images"
        parts = [b"--%s\r\nContent-Type: application/dicom\r\n\r\n%s\r\n" % (boundary.encode(), s.file) for s in slices]
        whole = [*parts, b"--%s--\r\n" % boundary.encode()]
        cut = self._chance.random() < 0.2
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'

        def body() -> Iterator[bytes]:
            for number, part in enumerate(whole):
                if cut and number == len(whole) // 2:
                    raise ConnectionError("broken off on purpose")
                yield part

        try:
            answer = httpx.post(self._studies_url, content=body(), headers={"Content-Type": kind}, timeout=30)
        except ConnectionError:
            return
        if answer.status_code == 200:
            self._ledger.acknowledge(slices)

    def _open_an_association_per_image(self) -> None:
        for each in self._new_study().slices:
            self._send([each])

    def _interleave_two_studies(self) -> None:
        one, other = self._new_study(), self._new_study()
        self._send([each for pair in zip(one.slices, other.slices, strict=False) for each in pair])

    def _send_again(self) -> None:
        if self._sent:
            self._send(self._chance.choice(self._sent).slices)

    def _send_late_slice(self) -> None:
        if self._sent:
            self._send(self._chance.choice(self._sent).grow(1))

    def _send_other_bytes(self) -> None:
        if self._sent:
            study = self._chance.choice(self._sent)
            self._send([study.other_bytes(self._chance.choice(study.slices))])

    def _new_study(self) -> Study:
        study = Study(self._chance)
        study.grow(self._chance.randint(2, 20))
        # Old ones are forgotten, or the sender's own memory would grow.
        self._sent = [*self._sent[-20:], study]
        return study

    def _send(self, slices: list[Slice]) -> None:
        with self._association() as sender:
            self._store(sender, slices)

    def _store(self, sender: Sender, slices: list[Slice]) -> None:
        for each in slices:
            answer = sender.store(each.dataset, each.sop_instance_uid)
            if answer.status == SUCCESS:
                self._ledger.acknowledge([each])
            elif answer.status is None:
                raise _Away

    @contextmanager
    def _association(self) -> Iterator[Sender]:
        sender = Sender(self._dicom_port, calling_ae_title=f"ROGUE{self._chance.randint(1, 9)}")
        if not sender.association.is_established:
            raise _Away
        with sender:
            yield sender


class _Away(Exception):
    """The receiver does not answer: it was killed."""
