"""Hostile inputs by the hundred thousand for the header walk, STOW-RS requests and DIMSE: no crash, none over 2 s.

With atheris, where it is installed, guided by coverage; and always by our own mutations, the same ones in every run.
The data folder in ICHD_TEST_DATA gives more seeds. A crash or a hang ends the run with its input on the disk.
"""

import argparse
import faulthandler
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.figures import Figure, print_figures

LONGEST_S = 2.0
_MAX_INPUT_BYTES = 1 << 15


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="for each target and engine")
    parser.add_argument("--quick", action="store_true", help="3,000 inputs: end within 60 s on two cores")
    parser.add_argument("--json", action="store_true", help="print one JSON object last")
    parser.add_argument("--engine", choices=("mutations", "atheris"), help=argparse.SUPPRESS)
    parser.add_argument("--target", help=argparse.SUPPRESS)
    options = parser.parse_args()
    inputs = 3_000 if options.quick else options.inputs
    if options.engine == "mutations":
        return _mutations(options.target, inputs)
    if options.engine == "atheris":
        return _atheris(options.target, inputs)
    return _all(inputs, as_json=options.json)


def _all(inputs: int, *, as_json: bool) -> int:
    from tests.intake.fuzzing import TARGETS

    figures: dict[str, Figure] = {"inputs_each": inputs}
    why_null: dict[str, str] = {}
    failed = False
    for target in TARGETS:
        for engine in ("mutations", "atheris"):
            name = f"{target}_{engine}"
            if engine == "atheris" and importlib.util.find_spec("atheris") is None:
                figures[f"{name}_inputs_s"] = None
                why_null[f"{name}_inputs_s"] = "atheris is not installed"
                continue
            began = time.monotonic()
            child = _child(engine, target, inputs)
            figures[f"{name}_inputs_s"] = round(inputs / (time.monotonic() - began))
            if engine == "mutations" and child.returncode == 0:
                figures[f"{name}_slowest_ms"] = float(child.stdout)
            if child.returncode != 0:
                failed = True
                print(f"{name} failed:\n{child.stderr[-4000:]}", file=sys.stderr)
    figures["failures"] = int(failed)
    print_figures(figures, why_null, as_json=as_json)
    return int(failed)


def _child(engine: str, target: str, inputs: int) -> subprocess.CompletedProcess[str]:
    """A process for each: atheris ends its own, and a hang can be killed."""
    command = [sys.executable, __file__, "--engine", engine, "--target", target, "--inputs", str(inputs)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _mutations(target: str, inputs: int) -> int:
    """Print the slowest input's time in milliseconds; 1 on a defect."""
    from tests.intake.fuzzing import TARGETS, mutations

    slowest_s = 0.0
    for content in mutations(target, inputs):
        # One that never ends is ended, with its stack.
        faulthandler.dump_traceback_later(10 * LONGEST_S, exit=True)
        began = time.perf_counter()
        try:
            TARGETS[target](content)
        except BaseException:
            _keep(target, content)
            raise
        slowest_s = max(slowest_s, time.perf_counter() - began)
        if slowest_s > LONGEST_S:
            _keep(target, content)
            print(f"an input took {slowest_s:.1f} s", file=sys.stderr)
            return 1
    faulthandler.cancel_dump_traceback_later()
    print(f"{1000 * slowest_s:.1f}")
    return 0


def _keep(target: str, content: bytes) -> None:
    with tempfile.NamedTemporaryFile(prefix=f"fuzz-{target}-", suffix=".bin", delete=False) as file:
        file.write(content)
    print(f"the input is kept as {file.name}", file=sys.stderr)


def _atheris(target: str, inputs: int) -> int:
    import atheris

    with atheris.instrument_imports(include=["ichd.intake", "python_multipart"]):
        from tests.intake.fuzzing import TARGETS, seeds

    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(target)):
            (Path(corpus) / f"{number:04}").write_bytes(seed[:_MAX_INPUT_BYTES])
        flags = [f"-runs={inputs}", f"-timeout={LONGEST_S:.0f}", f"-max_len={_MAX_INPUT_BYTES}", "-seed=1"]
        atheris.Setup(
            [sys.argv[0], *flags, f"-artifact_prefix={tempfile.gettempdir()}/fuzz-{target}-", corpus], TARGETS[target]
        )
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
