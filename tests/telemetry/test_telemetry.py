"""One formatter for all records, and nothing in them that quotes a data set."""

import json
import subprocess
import sys
from typing import Any

import pytest

from ichd.domain.errors import UserError
from ichd.telemetry import describe_exception

PROGRAM = """
import logging, warnings
import structlog
from ichd.domain.errors import UserError
from ichd.telemetry import configure_logging

configure_logging("info", "json")
structlog.get_logger("ichd.intake").info("instance_stored", study="1.2.3")
logging.getLogger("sqlalchemy").warning("pool of %d connections is empty", 5)
logging.getLogger("pydicom").warning("Invalid value for VR PN: 'DOE^JANE'")
logging.getLogger("pynetdicom.assoc").error("Association Rejected")
logging.getLogger("pynetdicom.service-c").error("DOE^JANE")
warnings.warn("value 'DOE^JANE' is too long")
logging.getLogger("ichd").debug("below the level")
try:
    try:
        raise ValueError("DOE^JANE")
    except ValueError as error:
        raise UserError("name a folder") from error
except UserError:
    structlog.get_logger("ichd").exception("job_crashed")
    logging.getLogger("library").exception("it crashed")
"""


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_every_record_is_one_json_line_with_level_logger_and_time(lines: list[dict[str, Any]]) -> None:
    assert len(lines) == 8
    assert all({"event", "level", "logger", "timestamp"} <= line.keys() for line in lines)
    assert all(line["timestamp"].endswith("Z") for line in lines)


def test_our_records_keep_their_fields(lines: list[dict[str, Any]]) -> None:
    assert lines[0]["event"] == "instance_stored"
    assert lines[0]["study"] == "1.2.3"


def test_a_library_that_reads_no_data_set_keeps_its_message(lines: list[dict[str, Any]]) -> None:
    assert lines[1]["event"] == "pool of 5 connections is empty"
    assert any(line["event"] == "Association Rejected" for line in lines)


def test_what_could_quote_a_data_set_is_withheld(lines: list[dict[str, Any]]) -> None:
    assert "DOE" not in json.dumps([line["event"] for line in lines])
    assert sum("withheld" in line["event"] for line in lines) == 3


def test_a_traceback_shows_our_messages_and_withholds_foreign_ones(lines: list[dict[str, Any]]) -> None:
    for line in lines[-2:]:
        assert "UserError: name a folder" in line["exception"]
        assert "ValueError: message withheld" in line["exception"]


@pytest.mark.parametrize("where", ["raise ValueError('DOE^JANE')", "thread"])
def test_what_nobody_catches_goes_through_the_formatter(where: str) -> None:
    raising = "def f(): raise ValueError('DOE^JANE')"
    run = (
        f"{raising}\nimport threading\nt = threading.Thread(target=f); t.start(); t.join()"
        if where == "thread"
        else where
    )
    program = f"from ichd.telemetry import configure_logging\nconfigure_logging('info', 'json')\n{run}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert json.loads(line)["event"] == "uncaught_exception"
    assert "ValueError: message withheld" in json.loads(line)["exception"]


def test_describe_exception_follows_causes_but_not_suppressed_context() -> None:
    try:
        try:
            raise KeyError("a")
        except KeyError:
            raise UserError("mend it") from None
    except UserError as error:
        text = describe_exception(error)
    assert text.endswith("UserError: mend it")
    assert "KeyError" not in text.splitlines()[-1]
    assert "caused by" not in text
