"""Before every page: who is asked for an account, what is noted of log-ins, and pages of other sites."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from fastapi.testclient import TestClient

from ichd.domain.audit import AuditOutcome
from ichd.domain.errors import Transient
from ichd.domain.reason import Reason
from ichd.web import Entry
from ichd.web.access import accounts as accounts_module
from ichd.web.access.accounts import Accounts
from tests.web.conftest import Filled, client_of
from tests.web.credentials import PASSWORD, SECRETS, TOKEN


@dataclass
class Trail:
    """What would go to the audit trail."""

    entries: list[tuple[AuditOutcome, str, str]] = field(default_factory=list)
    away: bool = False

    def __call__(self, outcome: AuditOutcome, account: str, address: str) -> None:
        if self.away:
            raise Transient(Reason.STORE_UNAVAILABLE)
        self.entries.append((outcome, account, address))


@pytest.fixture
def trail() -> Trail:
    return Trail()


Knock = Callable[..., TestClient]


@pytest.fixture
def knock(filled: Filled, trail: Trail) -> Knock:
    """A client at an address, before a door that asks for an account."""

    def build(address: str = "192.0.2.7", **changed: object) -> TestClient:
        entry = Entry(accounts=Accounts(SECRETS), note=trail, **changed)  # type: ignore[arg-type]
        return client_of(filled.folder, entry=entry, address=address)

    return build


@pytest.mark.parametrize(
    "path", ["/", "/api/studies", "/api/openapi.json", "/static/worklist.css", "/dicom-web/studies", "/nowhere"]
)
def test_everything_asks_for_an_account(knock: Knock, path: str) -> None:
    client = knock()

    stranger = client.get(path)
    challenges = stranger.headers.get_list("www-authenticate")

    assert stranger.status_code == 401
    assert challenges == ['Basic realm="ichd", charset="UTF-8"', 'Bearer realm="ichd"']
    assert "content-security-policy" in stranger.headers
    assert client.get(path, headers={"Authorization": f"Bearer {TOKEN}"}).status_code in {200, 404}
    assert client.get(path, auth=("viewer", PASSWORD)).status_code in {200, 404}


def test_a_wrong_token_is_called_that(knock: Knock) -> None:
    answer = knock().get("/api/studies", headers={"Authorization": "Bearer wrong"})

    assert answer.status_code == 401
    assert answer.headers.get_list("www-authenticate")[1] == 'Bearer realm="ichd", error="invalid_token"'
    assert "account" in answer.json()["error"]


def test_a_guesser_is_told_to_come_back(knock: Knock) -> None:
    client = knock()

    answers = [client.get("/api/studies", auth=("viewer", str(guess))) for guess in range(11)]

    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"] == "60"


def test_when_too_many_log_in_at_once_one_is_told_to_come_back_and_the_trail_is_not(
    knock: Knock, trail: Trail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounts_module, "_MOST_IN_LINE", 0)

    answer = knock().get("/api/studies", auth=("viewer", PASSWORD))

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert trail.entries == []


def test_health_is_open_and_tells_strangers_nothing(knock: Knock) -> None:
    far, near = knock("192.0.2.7"), knock("127.0.0.1")

    for path in ("/healthz", "/readyz"):
        assert far.get(path).json() == {"ok": True}
        assert near.get(path).json()["checks"]["database"]["ok"] is True


def test_without_accounts_nobody_is_asked(filled: Filled) -> None:
    assert client_of(filled.folder).get("/api/studies").status_code == 200


def test_log_ins_are_noted_once_and_failures_too(knock: Knock, trail: Trail) -> None:
    client = knock()
    for _ in range(5):
        client.get("/api/studies", auth=("viewer", PASSWORD))
        client.get("/api/studies", auth=("viewer", "wrong password"))
        client.get("/api/studies", auth=(PASSWORD, "typed into the wrong field"))

    assert trail.entries == [
        (AuditOutcome.SUCCESS, "viewer", "192.0.2.7"),
        (AuditOutcome.MINOR_FAILURE, "viewer", "192.0.2.7"),
        (AuditOutcome.MINOR_FAILURE, "", "192.0.2.7"),
    ]


def test_a_trail_that_can_not_be_written_shuts_nobody_out(knock: Knock, trail: Trail) -> None:
    client = knock()
    trail.away = True
    assert client.get("/api/studies", auth=("viewer", PASSWORD)).status_code == 200
    assert trail.entries == []

    trail.away = False
    assert client.get("/api/studies", auth=("viewer", PASSWORD)).status_code == 200
    assert len(trail.entries) == 1


def test_without_a_proxy_nobodys_word_is_taken_for_where_the_client_sits(knock: Knock, trail: Trail) -> None:
    knock().get("/api/studies", headers={"X-Forwarded-For": "198.51.100.9"}, auth=("viewer", PASSWORD))

    assert trail.entries == [(AuditOutcome.SUCCESS, "viewer", "192.0.2.7")]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin"}, 405),
        ({"Origin": "http://127.0.0.1:8642"}, 405),
        ({}, 405),
    ],
)
def test_a_page_of_another_site_can_change_nothing(filled: Filled, headers: dict[str, str], status: int) -> None:
    client = client_of(filled.folder)

    assert client.post("/dicom-web/studies", headers=headers).status_code == status
    assert client.get("/dicom-web/studies", headers=headers).status_code == 200


def test_no_other_origin_may_read(client: TestClient) -> None:
    answer = client.get("/dicom-web/studies", headers={"Origin": "https://viewer.example"})

    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    ("host", "any_address", "status"),
    [
        ("ct.hospital.example", False, 200),
        ("CT.hospital.example:8642", False, 200),
        ("other.example", False, 400),
        ("192.0.2.1", False, 400),
        ("192.0.2.1:8642", True, 200),
        ("[2001:db8::1]:8642", True, 200),
        ("other.example", True, 400),
        ("", True, 400),
    ],
)
def test_only_our_own_names_are_answered(filled: Filled, host: str, any_address: bool, status: int) -> None:
    entry = Entry(hosts=["ct.hospital.example"], any_address=any_address)

    answer = client_of(filled.folder, entry=entry).get("/api/studies", headers={"Host": host})

    assert answer.status_code == status


@pytest.mark.parametrize("lines", [["127.0.0.1, 198.51.100.9"], ["127.0.0.1", "198.51.100.9"]])
def test_behind_a_proxy_the_client_is_who_the_proxy_says(knock: Knock, trail: Trail, lines: list[str]) -> None:
    client = knock("127.0.0.1", behind_proxy=True)
    forged = [("X-Forwarded-For", line) for line in lines]

    answer = client.get("/dicom-web/studies", headers=forged, auth=("viewer", PASSWORD))

    assert answer.status_code == 200
    assert trail.entries == [(AuditOutcome.SUCCESS, "viewer", "198.51.100.9")]
    assert client.get("/readyz", headers=forged).json() == {"ok": True}
