"""A model at work in this process, with what stands and falls with it, and how another takes its place."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import structlog

from ichd.app.clock import Clock, utc_now
from ichd.app.engine import load_in_force, open_reader
from ichd.app.promoted import clear_refusal, in_force, note_refusal, read_pointer, sign_of
from ichd.app.storage import Storage
from ichd.domain.errors import IchdError, Permanent, UserError
from ichd.domain.finding import ModelIdentity
from ichd.pipeline.ahead import Ahead
from ichd.pipeline.explainers import Explainers
from ichd.pipeline.heat import Explainer, LastSeen
from ichd.pipeline.succession import Succession
from ichd.settings import Settings
from ichd.store.arriving import Arriving
from ichd.store.embeddings import Embeddings
from ichd.vision.attribution import Attribution
from ichd.vision.bundle import Bundle, find_bundle, load_bundle
from ichd.vision.manifest import MANIFEST_NAME, read_manifest
from ichd.vision.reader import Reader

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Serving:
    """One model, ready: a study that is begun with it is finished with it."""

    reader: Reader
    #: Under the fingerprint of its engine: what another model made of a slice is never found.
    embeddings: Embeddings
    #: None where it can't see slices alone, or is not to work ahead.
    ahead: Ahead | None
    #: None where it can't be looked into, or heat maps are switched off.
    explainer: Explainer | None

    @property
    def identity(self) -> ModelIdentity:
        """Which model it is."""
        return self.reader.engine.bundle.identity


class Equipment:
    """Makes models ready to work, with the settings and the storage of one worker."""

    def __init__(self, settings: Settings, storage: Storage, last_seen: LastSeen, clock: Clock) -> None:
        """`clock` is the worker's: when a slice was embedded is held against when its study was complete."""
        self._settings = settings
        self._storage = storage
        self._last_seen = last_seen
        self._clock = clock

    def first(self) -> Serving:
        """The model in force when the worker starts.

        Raises:
            UserError: it can't be used, and a person must mend it: no other takes its place in silence.
            Permanent: the bundle that `model.bundle` names is damaged.
        """
        serving = self._ready(load_in_force(self._settings.model))
        clear_refusal(self._settings.model)
        return serving

    def successor(self, present: Serving) -> Serving | None:
        """The model in force, ready; None where that is the present one.

        Raises:
            UserError: it can't be used.
            Permanent: the same.
        """
        model = self._settings.model
        found = in_force(model)
        if found.overruled is not None:
            log.warning("promotion_not_followed", promoted=found.overruled.bundle, why=found.source)
        if read_manifest(found.folder).identity == present.identity:
            clear_refusal(model)
            return None
        started = perf_counter()
        serving = self._ready(load_in_force(model))
        clear_refusal(model)
        log.info(
            "successor_ready",
            model=_named(serving.identity),
            engine=serving.reader.engine.name,
            ready_s=round(perf_counter() - started, 1),
        )
        return serving

    def note_failure(self, why: str) -> None:
        """Leave word of a promoted model that could not be loaded here."""
        model = self._settings.model
        try:
            pointer = read_pointer(model)
        except UserError:
            return  # whoever asks sees the damage for himself
        if pointer is not None:
            note_refusal(model, pointer.bundle, why, now=utc_now())

    def explainer_of(self, identity: ModelIdentity) -> Explainer | None:
        """That of a model which is not in force, where its bundle still is at hand."""
        for folder in self._folders():
            try:
                if read_manifest(folder).identity == identity:
                    reader = open_reader(load_bundle(folder), self._settings.model)
                    return self._explainer(reader, self._embeddings(reader))
            except IchdError as error:
                log.warning("earlier_model_not_loaded", folder=str(folder), why=str(error))
        return None

    def _folders(self) -> Iterator[Path]:
        model = self._settings.model
        for manifest in sorted(Path(model.promoted).glob(f"*/{MANIFEST_NAME}")):
            yield manifest.parent
        try:
            yield find_bundle(model.bundle)
        except UserError:
            return

    def _ready(self, bundle: Bundle) -> Serving:
        reader = open_reader(bundle, self._settings.model)
        reader.warm_up()
        embeddings = self._embeddings(reader)
        ahead = None
        if self._settings.worker.ahead and reader.sees_slices_alone:
            arriving = Arriving(self._storage.engine, self._storage.spool)
            ahead = Ahead(
                arriving=arriving,
                reader=reader,
                embeddings=embeddings,
                clock=self._clock,
                deaths_allowed=self._settings.worker.deaths_allowed,
            )
        explainer = self._explainer(reader, embeddings) if self._settings.worker.heat_maps else None
        return Serving(reader=reader, embeddings=embeddings, ahead=ahead, explainer=explainer)

    def _embeddings(self, reader: Reader) -> Embeddings:
        return Embeddings(self._storage.spool, reader.engine.fingerprint)

    def _explainer(self, reader: Reader, embeddings: Embeddings) -> Explainer | None:
        try:
            attribution = Attribution(reader.engine.bundle)
        except (UserError, Permanent) as error:
            log.warning("no_heat_maps", model=_named(reader.engine.bundle.identity), why=str(error))
            return None
        return Explainer(attribution=attribution, reader=reader, embeddings=embeddings, last_seen=self._last_seen)


def start_succession(
    settings: Settings, equipment: Equipment, clock: Clock
) -> tuple[Succession[Serving], Explainers | None]:
    """The model in force at work, its successors, and who explains what any of them found.

    Raises:
        UserError: the model in force can't be used.
        Permanent: the same.
    """
    # Before anything is read: a promotion that comes while the first one loads is seen afterwards.
    seen = sign_of(settings.model)
    first = equipment.first()
    explainers = None
    if settings.worker.heat_maps:
        explainers = Explainers(first.explainer, recall=equipment.explainer_of, clock=clock)

    def take_over(serving: Serving) -> None:
        if explainers is not None:
            explainers.succeed(serving.explainer)
        identity = serving.identity
        log.info("model_changed", model=_named(identity), weights=identity.weights_sha256[:12])

    succession = Succession(
        first,
        sign=lambda: sign_of(settings.model),
        successor=equipment.successor,
        take_over=take_over,
        failed=equipment.note_failure,
        clock=clock,
        seen=seen,
    )
    return succession, explainers


def _named(identity: ModelIdentity) -> str:
    return f"{identity.name} {identity.version}"
