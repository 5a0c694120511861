"""Who gets in: passwords, tokens, guessers, and pages of other sites."""

import base64
import hmac
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ichd.domain.audit import AuditOutcome
from ichd.domain.errors import Transient, UserError
from ichd.domain.reason import Reason
from ichd.web import Entry
from ichd.web.access import accounts as accounts_module
from ichd.web.access import secret as secret_module
from ichd.web.access.accounts import Accounts, Verdict
from ichd.web.access.secret import hash_password, new_token
from tests.web.conftest import Filled, client_of

PASSWORD = "correct höresé battery"  # noqa: S105 - of a test
TOKEN, TOKEN_HASH = new_token()
PASSWORD_HASH = hash_password(PASSWORD)
SECRETS = {"viewer": PASSWORD_HASH, "sender": TOKEN_HASH}


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


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
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The name of each costly or telling call."""
    calls: list[str] = []

    def count(owner: object, name: str) -> None:
        real = getattr(owner, name)

        def counting(*arguments: object) -> object:
            calls.append(name)
            return real(*arguments)

        monkeypatch.setattr(owner, name, counting)

    count(secret_module, "_scrypt")
    count(hmac, "compare_digest")
    return calls


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
    ("authorization", "verdict", "account"),
    [
        (None, Verdict.ASKED, ""),
        ("", Verdict.ASKED, ""),
        (basic("viewer", PASSWORD), Verdict.KNOWN, "viewer"),
        (basic("viewer", PASSWORD).replace("Basic", "bAsIc"), Verdict.KNOWN, "viewer"),
        (f"Bearer {TOKEN}", Verdict.KNOWN, "sender"),
        (basic("sender", TOKEN), Verdict.KNOWN, "sender"),
        (basic("viewer", PASSWORD + "x"), Verdict.WRONG, "viewer"),
        (basic("viewer", ""), Verdict.WRONG, "viewer"),
        (basic("viewer", TOKEN), Verdict.WRONG, "viewer"),
        (basic("sender", PASSWORD), Verdict.WRONG, "sender"),
        (basic("nobody", PASSWORD), Verdict.WRONG, ""),
        (basic("", ""), Verdict.WRONG, ""),
        (f"Bearer {TOKEN_HASH}", Verdict.WRONG, ""),
        (f"Bearer {PASSWORD}", Verdict.WRONG, ""),
        ("Bearer", Verdict.WRONG, ""),
        ("Basic !!!", Verdict.WRONG, ""),
        ("Basic " + "A" * 5000, Verdict.WRONG, ""),
        ("Digest x", Verdict.WRONG, ""),
    ],
    # Of their own: the token is another one in each process, and a parallel run compares the names.
    ids=[
        "nothing",
        "empty",
        "password",
        "small letters",
        "token",
        "token as password",
        "wrong password",
        "no password",
        "token of another",
        "password of another",
        "unknown name",
        "no name",
        "hash as token",
        "password as token",
        "no token",
        "no base64",
        "endless",
        "another scheme",
    ],
)
def test_a_request_is_judged(authorization: str | None, verdict: Verdict, account: str) -> None:
    judgement = Accounts(SECRETS).judge(authorization, "192.0.2.1")

    assert (judgement.verdict, judgement.account) == (verdict, account)


def test_equal_passwords_have_different_hashes_and_neither_shows_it() -> None:
    assert hash_password(PASSWORD) != PASSWORD_HASH
    assert PASSWORD not in PASSWORD_HASH
    assert TOKEN not in TOKEN_HASH


@pytest.mark.parametrize("secret", ["plain password", "", "sha256$short", "scrypt$15$8$1$x$y"])
def test_a_secret_that_is_no_hash_is_refused_without_being_shown(secret: str) -> None:
    with pytest.raises(UserError, match="ichd secret") as caught:
        Accounts({"viewer": secret})
    assert not secret or secret not in str(caught.value)


def test_a_viewers_hundred_requests_cost_one_scrypt(counted: list[str]) -> None:
    clock = Clock()
    accounts = Accounts(SECRETS, clock=clock)
    counted.clear()

    for _ in range(100):
        assert accounts.judge(basic("viewer", PASSWORD), "192.0.2.1").verdict is Verdict.KNOWN
    assert counted.count("_scrypt") == 1

    clock.now += 301
    accounts.judge(basic("viewer", PASSWORD), "192.0.2.1")
    assert counted.count("_scrypt") == 2


def test_who_keeps_asking_is_not_compared_again(counted: list[str]) -> None:
    clock = Clock()
    accounts = Accounts(SECRETS, clock=clock)
    counted.clear()

    for _ in range(5):
        assert accounts.judge(basic("viewer", PASSWORD), "192.0.2.1").verdict is Verdict.KNOWN
        clock.now += 200

    assert counted.count("_scrypt") == 1


def test_a_guesser_has_to_wait_and_nobody_else() -> None:
    clock = Clock()
    accounts = Accounts(SECRETS | {"second": PASSWORD_HASH}, clock=clock)
    accounts.judge(basic("viewer", PASSWORD), "192.0.2.1")

    verdicts = [accounts.judge(basic("viewer", str(guess)), "192.0.2.1").verdict for guess in range(11)]

    assert verdicts == [Verdict.WRONG] * 10 + [Verdict.LATER]
    # Right at last, but it is not looked at; who came in before stays in, tokens do, and so does everybody elsewhere.
    assert accounts.judge(basic("second", PASSWORD), "192.0.2.1").verdict is Verdict.LATER
    assert accounts.judge(basic("viewer", PASSWORD), "192.0.2.1").verdict is Verdict.KNOWN
    assert accounts.judge(f"Bearer {TOKEN}", "192.0.2.1").verdict is Verdict.KNOWN
    assert accounts.judge(basic("sender", TOKEN), "192.0.2.1").verdict is Verdict.KNOWN
    assert accounts.judge(basic("second", PASSWORD), "192.0.2.2").verdict is Verdict.KNOWN
    clock.now += 61
    assert accounts.judge(basic("second", PASSWORD), "192.0.2.1").verdict is Verdict.KNOWN


def test_wrong_tokens_shut_out_nobody_behind_the_same_address() -> None:
    accounts = Accounts(SECRETS)

    verdicts = {accounts.judge(f"Bearer {guess}", "192.0.2.1").verdict for guess in range(20)}

    assert verdicts == {Verdict.WRONG}
    assert accounts.judge(f"Bearer {TOKEN}", "192.0.2.1").verdict is Verdict.KNOWN
    assert accounts.judge(basic("viewer", PASSWORD), "192.0.2.1").verdict is Verdict.KNOWN


def test_a_viewers_requests_that_come_together_cost_one_scrypt(counted: list[str]) -> None:
    accounts = Accounts(SECRETS)
    counted.clear()
    with ThreadPoolExecutor(20) as crowd:
        right = list(crowd.map(lambda _: accounts.judge(basic("viewer", PASSWORD), "192.0.2.1"), range(20)))

    assert {each.verdict for each in right} == {Verdict.KNOWN}
    assert counted.count("_scrypt") == 1


def test_guessers_that_come_together_are_few_and_hold_up_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts(SECRETS)
    compared: list[str] = []
    goes_on, is_compared = threading.Event(), threading.Event()

    def slow(password: str, secret: str) -> bool:
        compared.append(password)
        is_compared.set()
        assert goes_on.wait(10)
        return False

    monkeypatch.setattr(accounts_module, "fits_password", slow)
    with ThreadPoolExecutor(40) as crowd:
        guesses = [
            crowd.submit(accounts.judge, basic("viewer", str(guess)), f"192.0.2.{guess % 4}") for guess in range(40)
        ]
        assert is_compared.wait(10)
        # All but those in the line are answered at once; nobody is done comparing yet.
        busy = list(islice(as_completed(guesses, timeout=10), 32))
        token = accounts.judge(f"Bearer {TOKEN}", "192.0.2.1")
        goes_on.set()
        wrong = [each.result() for each in guesses if each not in busy]

    assert token.verdict is Verdict.KNOWN
    assert {each.result().verdict for each in busy} == {Verdict.BUSY}
    assert {each.verdict for each in wrong} == {Verdict.WRONG}
    assert len(compared) == len(wrong) == 8


def test_an_error_in_a_comparison_reaches_all_who_wait_and_is_over_then(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = Accounts(SECRETS)

    def no_memory(*_: object) -> bool:
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr(accounts_module, "fits_password", no_memory)
        with ThreadPoolExecutor(4) as crowd:
            asked = [crowd.submit(accounts.judge, basic("viewer", PASSWORD), "192.0.2.1") for _ in range(4)]
            assert all(isinstance(each.exception(10), MemoryError) for each in asked)

    assert accounts.judge(basic("viewer", PASSWORD), "192.0.2.1").verdict is Verdict.KNOWN


def test_an_unknown_name_costs_what_a_known_one_costs(counted: list[str]) -> None:
    accounts = Accounts(SECRETS)
    counted.clear()

    accounts.judge(basic("nobody", "x"), "192.0.2.1")

    assert counted.count("_scrypt") == 1


def test_comparisons_take_the_same_time_whatever_differs(counted: list[str]) -> None:
    accounts = Accounts(SECRETS)
    counted.clear()

    accounts.judge(f"Bearer {TOKEN}", "192.0.2.1")
    accounts.judge(basic("viewer", "x"), "192.0.2.1")

    assert counted.count("compare_digest") == 3


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


def test_the_secrets_of_the_command_open_the_door(tmp_path: Path) -> None:
    def secret(*arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ichd", "secret", *arguments]
        return subprocess.run(command, input=typed, capture_output=True, text=True, check=False, cwd=tmp_path)

    by_password, by_token = secret("--stdin", typed=f"{PASSWORD}\n"), secret("--token")
    hashed = by_password.stdout.removeprefix('secret = "').rstrip('"\n')
    token, line = by_token.stdout.splitlines()
    accounts = Accounts({"viewer": hashed, "sender": line.removeprefix('secret = "').rstrip('"')})

    assert accounts.judge(basic("viewer", PASSWORD), "").account == "viewer"
    assert accounts.judge(f"Bearer {token}", "").account == "sender"
    assert PASSWORD not in by_password.stdout + by_password.stderr
    short = secret("--stdin", typed="short\n")
    assert (short.returncode, "longer" in short.stderr) == (2, True)
    assert secret("--stdin", "--token").returncode == 2


def test_a_password_that_is_in_use_elsewhere_is_not_told_from_a_wrong_one() -> None:
    accounts = Accounts(SECRETS)
    assert accounts.judge(basic("viewer", PASSWORD), "10.0.0.1").verdict is Verdict.KNOWN
    for guess in range(10):
        accounts.judge(basic("viewer", f"wrong {guess}"), "10.0.0.2")
    assert accounts.judge(basic("viewer", PASSWORD), "10.0.0.2").verdict is Verdict.LATER
    assert accounts.judge(basic("viewer", PASSWORD), "10.0.0.1").verdict is Verdict.KNOWN
