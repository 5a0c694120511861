"""The model in force, in the engine that the settings ask for."""

from pathlib import Path

from ichd.app.promoted import in_force, mend_of
from ichd.domain.errors import Permanent, UserError
from ichd.settings import ModelSettings
from ichd.vision.bundle import Bundle, load_bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.choice import EngineWish, choose_engine, is_warm, open_engine
from ichd.vision.reader import Reader


def load_reader(model: ModelSettings) -> Reader:
    """A reader with the model in force, loaded; it is as quick as it gets after `warm_up`.

    Raises:
        UserError: there is no such bundle, a promoted one is damaged, or no engine is as the settings want it.
        Permanent: the bundle is damaged or can't be used here.
    """
    return open_reader(load_in_force(model), model)


def load_in_force(model: ModelSettings) -> Bundle:
    """The model in force, whole.

    Raises:
        UserError: there is no such bundle, or a promoted one, or the pointer to it, is damaged.
        Permanent: the bundle that `model.bundle` names is damaged.
    """
    found = in_force(model)
    try:
        return load_bundle(found.folder)
    except Permanent as error:
        if found.pointer is None:
            raise
        raise UserError(f"the promoted model can't be used: {error.detail}; or {mend_of(model)}") from error


def open_reader(bundle: Bundle, model: ModelSettings) -> Reader:
    """A reader of any bundle, as the settings would read with it.

    Raises:
        UserError: no engine is as the settings want it.
        Permanent: the bundle's weights don't fit its network.
    """
    return Reader(open_engine(bundle, _wish(model), EngineCache(Path(model.cache))))


def describe_engine(model: ModelSettings) -> str:
    """Which engine `load_reader` would open, and whether that is quick; nothing is converted for the answer.

    Raises:
        UserError: there is no such bundle, or no engine as the settings want it.
        Permanent: the bundle is damaged.
    """
    bundle = load_in_force(model)
    choice = choose_engine(_wish(model), least_precision=bundle.manifest.least_precision)
    warm = is_warm(choice, bundle, EngineCache(Path(model.cache)))
    return f"{choice}, {'ready at once' if warm else 'the first start converts the model, some seconds'}"


def _wish(model: ModelSettings) -> EngineWish:
    return EngineWish(engine=model.engine, device=model.device, precision=model.precision, threads=model.threads)
