"""The model that the settings name, in the engine that they ask for."""

from pathlib import Path

from ichd.settings import ModelSettings
from ichd.vision.bundle import find_bundle, load_bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.choice import EngineWish, choose_engine, is_warm, open_engine
from ichd.vision.reader import Reader


def load_reader(model: ModelSettings) -> Reader:
    """A reader, loaded; it is as quick as it gets after `warm_up`.

    Raises:
        UserError: there is no such bundle, or no engine as the settings want it.
        Permanent: the bundle is damaged or can't be used here.
    """
    bundle = load_bundle(find_bundle(model.bundle))
    return Reader(open_engine(bundle, _wish(model), EngineCache(Path(model.cache))))


def describe_engine(model: ModelSettings) -> str:
    """Which engine `load_reader` would open, and whether that is quick; nothing is converted for the answer.

    Raises:
        UserError: there is no such bundle, or no engine as the settings want it.
        Permanent: the bundle is damaged.
    """
    bundle = load_bundle(find_bundle(model.bundle))
    choice = choose_engine(_wish(model), least_precision=bundle.manifest.least_precision)
    warm = is_warm(choice, bundle, EngineCache(Path(model.cache)))
    return f"{choice}, {'ready at once' if warm else 'the first start converts the model, some seconds'}"


def _wish(model: ModelSettings) -> EngineWish:
    return EngineWish(engine=model.engine, device=model.device, precision=model.precision, threads=model.threads)
