"""The pages: the worklist over a million studies and with 200 viewers, and the viewer of images.

Each part says in its own module how it is measured.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from ichd.telemetry import configure_logging
from tests.benchmarks import web_worklist
from tests.benchmarks.figures import arguments, print_figures


def main() -> None:
    options = arguments(__doc__ or "")
    configure_logging("error", "console")
    figures, why_null = web_worklist.measure(quick=options.quick)
    print_figures(figures, why_null, as_json=options.json)


if __name__ == "__main__":
    main()
