"""Which engine runs a bundle here: the quickest that the settings allow and the machine has."""

from dataclasses import dataclass, replace
from importlib.util import find_spec

import structlog
import torch

from ichd.domain.errors import UserError
from ichd.vision.bundle import Bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.device import find_device
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.engines.engine import Engine
from ichd.vision.engines.trial import fault_of

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class EngineWish:
    """What the settings say; "auto" leaves it to the machine."""

    #: "auto", "torch", "openvino" or "cuda".
    engine: str = "auto"
    #: "auto", "cpu" or "cuda[:N]".
    device: str = "auto"
    #: "auto", "fp32", "bf16", "fp16" or "int8".
    precision: str = "auto"
    #: Threads of a CPU engine; the library's choice when None.
    threads: int | None = None


@dataclass(frozen=True, kw_only=True)
class EngineChoice:
    """What a wish becomes on this machine."""

    engine: str
    #: As torch names it.
    device: str
    precision: str

    def __str__(self) -> str:
        return f"{self.engine} on {self.device} in {self.precision}"


def choose_engine(wish: EngineWish, *, least_precision: str = "bf16") -> EngineChoice:
    """The first engine of the device that grants the wish.

    A precision that the wish leaves open goes no lower than `least_precision`, as in the bundle's manifest.

    Raises:
        UserError: no engine of this machine does.
    """
    demanded = ""
    if wish.precision == "auto" and least_precision == "fp32":
        wish, demanded = replace(wish, precision="fp32"), " (what the bundle asks for)"
    device = find_device(wish.device)
    devices = [device, torch.device("cpu")] if device.type == "cuda" and wish.device == "auto" else [device]
    on_offer = [(one, engine, offer) for one in devices for engine, offer in _engines_on(one).items()]
    for one, engine, precisions in on_offer:
        if wish.engine in {"auto", engine} and wish.precision in {"auto", *precisions}:
            return EngineChoice(
                engine=engine,
                device=str(one),
                precision=precisions[0] if wish.precision == "auto" else wish.precision,
            )
    offers = "; ".join(f"{engine} on {one.type} in {' or '.join(precisions)}" for one, engine, precisions in on_offer)
    raise UserError(
        f"no engine on this machine grants model.engine = {wish.engine!r}, device = {wish.device!r} and "
        f"precision = {wish.precision!r}{demanded} together; there are: {offers}"
    )


def open_engine(bundle: Bundle, wish: EngineWish, cache: EngineCache | None = None) -> Engine:
    """The engine, loaded; `warm_up` makes it ready.

    Raises:
        UserError: no engine of this machine grants the wish, or the one that does is not to be trusted here.
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """
    choice = choose_engine(wish, least_precision=bundle.manifest.least_precision)
    if choice.engine == "openvino":
        # Loaded where it is used: a machine without OpenVINO runs torch.
        from ichd.vision.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(bundle, precision=choice.precision, threads=wish.threads, cache=cache)
    if choice.engine == "cuda":
        return open_graph(bundle, choice, wish)
    return EagerEngine(bundle, device=choice.device, threads=wish.threads)


def open_graph(bundle: Bundle, choice: EngineChoice, wish: EngineWish) -> Engine:
    """The CUDA engine, once it was tried on this card; plain torch there where it fails and the wish leaves that open.

    Raises:
        UserError: it fails, and the wish insists on it or on its precision.
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """
    from ichd.vision.engines.cuda import CudaEngine

    try:
        engine = CudaEngine(bundle, device=torch.device(choice.device), precision=choice.precision)
        reference = EagerEngine(bundle, device="cpu", threads=wish.threads)
        fault = fault_of(engine, reference, rows=engine.at_once, precision=choice.precision)
    except RuntimeError as error:  # of export, of capture, or the card's own: torch has no narrower one for all three
        fault = f"{type(error).__name__} while it was made ready"
    else:
        if fault is None:
            return engine
    if wish.engine == "cuda" or wish.precision not in {"auto", "fp32"}:
        raise UserError(
            f'{choice} can\'t be used with {bundle.identity.name} ({fault}); set model.engine = "torch" and '
            'model.precision = "auto"'
        )
    log.warning("engine_refused", engine=str(choice), fault=fault, instead="torch in fp32")
    return EagerEngine(bundle, device=choice.device, threads=wish.threads)


def is_warm(choice: EngineChoice, bundle: Bundle, cache: EngineCache) -> bool:
    """Whether a start finds all that was once prepared; torch prepares nothing that lasts.

    Raises:
        UserError: int8 is wanted and was not made.
    """
    if choice.engine != "openvino":
        return True
    from ichd.vision.engines.openvino import is_converted

    return is_converted(bundle, choice.precision, cache)


def _engines_on(device: torch.device) -> dict[str, tuple[str, ...]]:
    """Engines on one device, the quickest first, with the precisions that each has, its own choice first."""
    engines: dict[str, tuple[str, ...]] = {}
    if device.type == "cuda":
        from ichd.vision.engines.cuda import precisions as on_gpu

        engines["cuda"] = on_gpu(device)
    if device.type == "cpu" and find_spec("openvino") is not None:
        from ichd.vision.engines.openvino import precisions

        engines["openvino"] = precisions()
    engines["torch"] = ("fp32",)
    return engines
