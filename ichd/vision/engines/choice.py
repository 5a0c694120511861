"""Which engine runs a bundle here: the quickest that the settings allow and the machine has."""

from dataclasses import dataclass
from importlib.util import find_spec

import torch

from ichd.domain.errors import UserError
from ichd.vision.bundle import Bundle
from ichd.vision.engines.cache import EngineCache
from ichd.vision.engines.device import find_device
from ichd.vision.engines.eager import EagerEngine
from ichd.vision.engines.engine import Engine


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


def choose_engine(wish: EngineWish) -> EngineChoice:
    """The first engine of the device that grants the wish.

    Raises:
        UserError: no engine of this machine does.
    """
    device = find_device(wish.device)
    types = ["cuda", "cpu"] if device.type == "cuda" and wish.device == "auto" else [device.type]
    on_offer = [(kind, engine, precisions) for kind in types for engine, precisions in _engines_on(kind).items()]
    for kind, engine, precisions in on_offer:
        if wish.engine in {"auto", engine} and wish.precision in {"auto", *precisions}:
            return EngineChoice(
                engine=engine,
                device=str(device) if device.type == kind else kind,
                precision=precisions[0] if wish.precision == "auto" else wish.precision,
            )
    offers = "; ".join(f"{engine} on {kind} in {' or '.join(precisions)}" for kind, engine, precisions in on_offer)
    raise UserError(
        f"no engine on this machine grants model.engine = {wish.engine!r}, device = {wish.device!r} and "
        f"precision = {wish.precision!r} together; there are: {offers}"
    )


def open_engine(bundle: Bundle, wish: EngineWish, cache: EngineCache | None = None) -> Engine:
    """The engine, loaded; `warm_up` makes it ready.

    Raises:
        UserError: no engine of this machine grants the wish.
        Permanent: MODEL_UNUSABLE, the bundle's weights don't fit its network.
    """
    choice = choose_engine(wish)
    if choice.engine == "openvino":
        # Loaded where it is used: a machine without OpenVINO runs torch.
        from ichd.vision.engines.openvino import OpenVinoEngine

        return OpenVinoEngine(bundle, precision=choice.precision, threads=wish.threads, cache=cache)
    if choice.engine == "cuda":
        from ichd.vision.engines.cuda import CudaEngine

        return CudaEngine(bundle, device=torch.device(choice.device), precision=choice.precision)
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


def _engines_on(device_type: str) -> dict[str, tuple[str, ...]]:
    """Engines on one type of device, the quickest first, with the precisions that each has, its own choice first."""
    engines: dict[str, tuple[str, ...]] = {}
    if device_type == "cuda":
        from ichd.vision.engines.cuda import precisions as on_gpu

        engines["cuda"] = on_gpu()
    if device_type == "cpu" and find_spec("openvino") is not None:
        from ichd.vision.engines.openvino import precisions

        engines["openvino"] = precisions()
    engines["torch"] = ("fp32",)
    return engines
