"""The statement against real associations: what it claims is negotiated, and nothing else is."""

import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID
from pynetdicom import AE, build_role, evt
from pynetdicom.presentation import build_context
from typer.testing import CliRunner

from ichd.app.conformance import FORMATS, render, statement_of
from ichd.app.conformance.facts import Activity, accepted_contexts, activities
from ichd.app.destinations import route_of
from ichd.app.listener import run_listener
from ichd.app.notify import Watcher
from ichd.app.sources import source_of
from ichd.cli.main import app
from ichd.domain.delivery import Parcel
from ichd.domain.errors import IchdError
from ichd.intake.ask.archive import archive_of, check_source
from ichd.intake.ask.association import associated
from ichd.intake.ask.errand import Tally, Wanted
from ichd.intake.ask.get import contexts as get_contexts
from ichd.intake.ask.move import MoveRetriever
from ichd.intake.ask.rows import Level
from ichd.intake.ask.sources import DimseSource
from ichd.intake.claim import ACCEPTED_SOP_CLASSES
from ichd.intake.event_report import Verdict, report
from ichd.phantom import PhantomRecipe, write_series
from ichd.phantom import render as render_phantom
from ichd.publish.cstore import CStore
from ichd.settings import Settings, load_settings
from ichd.store.engine import migrate
from tests.peers.ports import free_port

EXPLICIT = "1.2.840.10008.1.2.1"
SOP_CLASSES = sorted(
    uid for uid, (_, kind, *_) in UID_dictionary.items() if kind in {"SOP Class", "Meta SOP Class", "Service Class"}
)
SYNTAXES = sorted(uid for uid, (_, kind, *_) in UID_dictionary.items() if kind == "Transfer Syntax")
#: Presentation contexts of one association.
MOST = 128


@dataclass
class Door:
    """A listener of these settings in a thread, as the role runs it."""

    settings: Settings
    port: int

    def accepted(self, proposals: Sequence[tuple[str, str]]) -> set[tuple[str, str]]:
        """Of pairs of SOP class and transfer syntax those that it accepts, each proposed in a context of its own."""
        taken: set[tuple[str, str]] = set()
        for start in range(0, len(proposals), MOST):
            contexts = [build_context(sop_class, syntax) for sop_class, syntax in proposals[start : start + MOST]]
            association = AE("SCANNER").associate("127.0.0.1", self.port, contexts=contexts)
            assert association.is_established or association.rejected_contexts
            taken |= {
                (str(each.abstract_syntax), str(each.transfer_syntax[0])) for each in association.accepted_contexts
            }
            if association.is_established:
                association.release()
        return taken


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    folder, port = tmp_path_factory.mktemp("door"), free_port()
    (folder / "ichd.toml").write_text(
        f'[dicom]\nport = {port}\n[database]\nurl = "sqlite:///{folder}/ichd.db"\n'
        f'[spool]\nurl = "{folder}/spool"\nhigh_watermark = 1.0\n'
    )
    settings = load_settings(folder / "ichd.toml")
    migrate(settings.database.url)
    stop, ready = threading.Event(), threading.Event()

    class Ready(Watcher):
        def ready(self, status: str = "") -> None:
            ready.set()

    listener = threading.Thread(target=run_listener, args=(settings, stop, Ready()))
    listener.start()
    try:
        assert ready.wait(60)
        yield Door(settings=settings, port=port)
    finally:
        stop.set()
        listener.join(30)


def claimed() -> set[tuple[str, str]]:
    return {(each.abstract_syntax, syntax) for each in accepted_contexts() for syntax in each.transfer_syntaxes}


def test_of_every_sop_class_that_there_is_the_listener_accepts_those_that_the_statement_claims(door: Door) -> None:
    assert len(SOP_CLASSES) > 150
    every = [(sop_class, EXPLICIT) for sop_class in SOP_CLASSES]
    assert door.accepted(every) == {pair for pair in claimed() if pair[1] == EXPLICIT}


def test_of_every_transfer_syntax_that_there_is_too(door: Door) -> None:
    every = [(each.abstract_syntax, syntax) for each in accepted_contexts() for syntax in SYNTAXES]
    assert door.accepted(every) == claimed()


def test_of_several_transfer_syntaxes_it_takes_the_one_that_stands_first(door: Door) -> None:
    for context in accepted_contexts():
        backwards = build_context(context.abstract_syntax, list(reversed(context.transfer_syntaxes)))
        association = AE("SCANNER").associate("127.0.0.1", door.port, contexts=[backwards])
        (taken,) = association.accepted_contexts
        assert taken.transfer_syntax == [context.transfer_syntaxes[0]]
        association.release()


def test_a_peer_may_be_the_provider_of_what_the_statement_says_that_we_use(door: Door) -> None:
    contexts = [build_context(each.abstract_syntax, EXPLICIT) for each in accepted_contexts()]
    roles: list[Any] = [build_role(each.abstract_syntax, scp_role=True) for each in accepted_contexts()]
    association = AE("SCANNER").associate("127.0.0.1", door.port, contexts=contexts, ext_neg=roles)
    provided = {str(each.abstract_syntax) for each in association.accepted_contexts if each.as_scp}
    assert provided == {each.abstract_syntax for each in accepted_contexts() if "SCU" in each.role}
    association.release()


@pytest.mark.skipif(shutil.which("storescu") is None, reason="dcmtk is not installed")
def test_dcmtk_agrees(door: Door, tmp_path: Path) -> None:
    (path,) = write_series(render_phantom(PhantomRecipe(seed=3, slices=1, rows=64, voxel_mm=4.0)), tmp_path / "ct")
    image = pydicom.dcmread(path)
    image.SOPClassUID = image.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.4")
    image.save_as(tmp_path / "mr.dcm")

    def run(*command: str) -> int:
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode

    at = ("-aec", "ICHD", "127.0.0.1", str(door.port))
    assert run("echoscu", *at) == 0
    assert run("storescu", *at, str(path)) == 0
    assert run("storescu", *at, str(tmp_path / "mr.dcm")) != 0


@dataclass
class Peer:
    """An AE that takes every context, and remembers what was proposed."""

    port: int
    associations: list[list[tuple[str, tuple[str, ...]]]] = field(default_factory=list)

    def proposed_by(self, act: Callable[[], object]) -> list[list[tuple[str, tuple[str, ...]]]]:
        self.associations.clear()
        # What it answers is of no interest, and mostly a failure.
        with suppress(IchdError):
            act()
        return list(self.associations)


@pytest.fixture
def peer() -> Iterator[Peer]:
    found = Peer(port=free_port())

    def note(event: evt.Event) -> None:
        contexts = event.assoc.requestor.requested_contexts
        found.associations.append([(str(c.abstract_syntax), tuple(map(str, c.transfer_syntax))) for c in contexts])

    ae = AE("PEER")
    for sop_class in SOP_CLASSES[:MOST]:
        ae.add_supported_context(sop_class)
    for activity in activities(settings_of(found.port)):
        for context in activity.contexts:
            ae.add_supported_context(context.abstract_syntax, list(context.transfer_syntaxes))
    server = ae.start_server(("127.0.0.1", found.port), block=False, evt_handlers=[(evt.EVT_REQUESTED, note)])
    assert server is not None
    yield found
    server.shutdown()


def settings_of(port: int, folder: Path | None = None) -> Settings:
    at = {"address": f"127.0.0.1:{port}", "ae_title": "PEER", "timeout_s": 5.0}
    return Settings.model_validate(
        {
            "destination": [
                {"name": "pacs", "confirm": "commitment", **at},
                {"name": "archive", "confirm": "read_back", "send": ["sr", "heat", "parametric", "gsps"], **at},
                {"name": "ris", "kind": "hl7", "address": "127.0.0.1:1"},
            ],
            "source": [
                {"name": "get", **at},
                {"name": "move", "retrieve": "move", **at},
                {"name": "web", "kind": "dicomweb", "url": "https://user:secret@pacs.example/dicom-web"},
            ],
        }
    )


def as_proposed(activity: Activity) -> list[tuple[str, tuple[str, ...]]]:
    return [(each.abstract_syntax, each.transfer_syntaxes) for each in activity.contexts]


def test_senders_propose_what_the_statement_says(peer: Peer) -> None:
    settings = settings_of(peer.port)
    said = {each.name: as_proposed(each) for each in activities(settings)}
    done: dict[str, Callable[[], object]] = {}
    for destination in settings.destination[:2]:
        route = route_of(destination, settings)
        sender, name = route.sender, destination.name
        assert isinstance(sender, CStore)
        parcel = Parcel(study_instance_uid="1.2.3", wanted=route.wanted, fetch=lambda _: ())
        done[f"Send reports to {name}"] = partial(sender.deliver, parcel, now=datetime.now(UTC))
        done[f"Verify {name}"] = sender.check
        if name == "pacs":
            done[f"Ask {name} for storage commitment"] = partial(sender.request_commitment, "1.2.3", (), patience_s=0.1)
        else:
            done[f"Read back from {name}"] = partial(sender.missing, "1.2.3", ())
    verdict = Verdict(transaction_uid="1.2.3", committed=(), failed=())
    for each in settings.source[:2]:
        source = source_of(each, settings)
        assert isinstance(source, DimseSource)
        done[f"Verify {each.name}"] = partial(check_source, source)
        done[f"Query {each.name}"] = partial(ask, source)
        done[f"Retrieve from {each.name}"] = partial(retrieve, source)
        done[f"Report storage commitment to {each.name}"] = partial(report, source, verdict)
    assert sorted(said) == sorted(done)
    for name, act in done.items():
        proposed = peer.proposed_by(act)
        assert proposed[:1] == [said[name]], name


def ask(source: DimseSource) -> None:
    with archive_of(source) as archive:
        archive.find(Level.STUDY, {"StudyInstanceUID": "1.2.3"})


def retrieve(source: DimseSource) -> None:
    if source.retrieve == "move":
        wanted = Wanted(series_uid="1.2.3", images=("1.2.4",), whole=True)
        MoveRetriever(source).retrieve("1.2.3", [wanted], Tally(lambda _: None))
        return
    with associated(source, get_contexts(), stores=ACCEPTED_SOP_CLASSES):
        pass


def test_no_secret_is_in_any_form_of_it() -> None:
    settings = Settings.model_validate(
        {
            "database": {"url": "postgresql://ichd:HIDDEN@db/ichd"},
            "spool": {"secret_key": "HIDDEN", "access_key": "HIDDEN"},
            "destination": [
                {"name": "a", "kind": "stow", "url": "https://HIDDEN@pacs/HIDDEN", "token": "HIDDEN"},
                {"name": "b", "kind": "webhook", "url": "https://hook/?k=HIDDEN", "secret": "HIDDEN-HIDDEN-HIDDEN"},
            ],
            "source": [{"name": "c", "kind": "dicomweb", "url": "https://HIDDEN:HIDDEN@p/x", "password": "HIDDEN"}],
        }
    )
    for form in FORMATS:
        text = render(statement_of(settings), form)
        assert "HIDDEN" not in text
        assert "(set)" in text


def test_what_the_settings_say_is_escaped_in_the_page() -> None:
    settings = Settings.model_validate({"destination": [{"name": "<b>x", "address": "h:1", "ae_title": "A|<i>"}]})
    page = render(statement_of(settings), "html")
    assert "<b>" not in page
    assert "<i>" not in page
    assert "A\\|<i>" in render(statement_of(settings), "md")


def test_the_command_writes_each_form(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    printed = CliRunner().invoke(app, ["conformance", "--format", "json"])
    assert printed.exit_code == 0
    facts = json.loads(printed.stdout)
    assert {(c["abstract_syntax"], s) for c in facts["accepted"] for s in c["transfer_syntaxes"]} == claimed()
    assert CliRunner().invoke(app, ["conformance", "--format", "html", "--out", "statement.html"]).exit_code == 0
    page = Path("statement.html").read_text()
    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}"' in page
    assert not re.search(r'(?:src|href)="[^#]', page), "it needs nothing else"
