"""What the bits of an embedding depend on beside the bundle and the slice: our own code, and what runs it."""

import hashlib
import platform
from functools import cache
from pathlib import Path

import timm
import torch

_ENGINES = Path(__file__).parent
#: Beside the engines themselves.
_SOURCES = ("bundle.py", "network.py", "preprocess.py", "window.py")
_CPU_INFO = Path("/proc/cpuinfo")


@cache
def code_digest() -> str:
    """Over the sources that turn a slice into an embedding: what was kept by others of them is not theirs."""
    digest = hashlib.sha256()
    for path in (*sorted(_ENGINES.glob("*.py")), *(_ENGINES.parent / name for name in _SOURCES)):
        digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def fingerprint_of(*parts: str) -> str:
    """`Engine.fingerprint` of what an engine alone knows: our code and the libraries are added."""
    return hashlib.sha256("\n".join((*parts, code_digest(), torch.__version__, timm.__version__)).encode()).hexdigest()


def torch_processor(device: torch.device) -> str:
    """What torch computes on: kernels, and so bits, differ by card, or by processor and number of threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{_cpu_name()} {capability}, {torch.get_num_threads()} threads"


@cache
def _cpu_name() -> str:
    """The model where Linux tells it; torch tells no more than the instructions."""
    try:
        lines = _CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
