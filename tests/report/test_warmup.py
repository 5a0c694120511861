"""Warming up is what it says: afterwards the tables are there."""

import subprocess
import sys

PROGRAM = """
import json
from ichd.report.sr import build_report
from ichd.report.warmup import warm_up
from tests.report.findings import CONTEXT, bleeding, header

read = []
parse = json.loads
json.loads = lambda *arguments, **options: read.append(1) or parse(*arguments, **options)
warm_up()
at_warm_up = len(read)
build_report(bleeding(), [header()], CONTEXT)
print(at_warm_up, len(read) - at_warm_up)
"""


def test_the_first_report_after_warming_up_reads_no_table() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    at_warm_up, afterwards = map(int, done.stdout.split())
    assert at_warm_up > 0
    assert afterwards == 0
