"""Who gets in: passwords, tokens and guessers."""

import base64
import hmac
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pytest

from ichd.domain.errors import UserError
from ichd.web.access import accounts as accounts_module
from ichd.web.access import secret as secret_module
from ichd.web.access.accounts import Accounts, Verdict
from ichd.web.access.secret import hash_password
from tests.web.credentials import PASSWORD, PASSWORD_HASH, SECRETS, TOKEN, TOKEN_HASH


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


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
