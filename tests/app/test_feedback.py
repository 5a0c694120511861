"""The HL7 door as the web role opens it, and what the doctor says of it."""

import socket
import threading
import time
from pathlib import Path

import pytest
from hl7.client import MLLPClient

from ichd.app.feedback import examine_hl7_door
from ichd.app.web import run_web
from ichd.domain.errors import UserError
from ichd.settings import Settings, WebSettings
from ichd.settings.destinations import FeedbackSettings
from ichd.settings.sections import DatabaseSettings, SpoolSettings
from ichd.store.engine import migrate
from tests.peers.ports import free_port

MESSAGE = "MSH|^~\\&|RIS||ICHD||20260301120000||ORU^R01|M1|P|2.5.1\rOBR|1|||CT\rOBX|1|ST|{}||AGREED||||||F\r"


def settings_of(folder: Path, feedback: FeedbackSettings) -> Settings:
    settings = Settings(
        web=WebSettings(port=free_port()),
        feedback=feedback,
        database=DatabaseSettings(url=f"sqlite:///{folder / 'ichd.db'}"),
        spool=SpoolSettings(url=str(folder / "spool"), high_watermark=1.0),
    )
    migrate(settings.database.url)
    return settings


def test_the_web_role_takes_words_by_hl7_while_it_runs(tmp_path: Path) -> None:
    feedback = FeedbackSettings(hl7_port=free_port(), observation="KI")
    settings = settings_of(tmp_path, feedback)
    stop = threading.Event()
    role = threading.Thread(target=run_web, args=(settings, stop))
    role.start()
    try:
        deadline = time.monotonic() + 30
        while socket.socket().connect_ex(("127.0.0.1", feedback.hl7_port or 0)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        with MLLPClient("127.0.0.1", feedback.hl7_port) as client:
            assert b"MSA|AA|M1" in client.send_message(MESSAGE.format("GDT"))
            assert b"review_unknown" in client.send_message(MESSAGE.format("KI"))
        assert "by the code KI" in examine_hl7_door(feedback)
    finally:
        stop.set()
        role.join()
    with pytest.raises(UserError, match="start `ichd serve`"):
        examine_hl7_door(feedback)


def test_a_port_that_is_taken_is_said_before_the_role_serves(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_of(tmp_path, FeedbackSettings(hl7_port=taken.getsockname()[1]))
        with pytest.raises(UserError, match=r"feedback\.hl7_port"):
            run_web(settings, threading.Event())


def test_the_doctor_warns_of_a_door_that_others_reach() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        feedback = FeedbackSettings(hl7_port=listening.getsockname()[1], hl7_host="0.0.0.0")  # noqa: S104 - nothing is bound
        assert "no TLS" in examine_hl7_door(feedback)
