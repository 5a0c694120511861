"""Requests that nobody sends in good faith: none makes an error of ours, none gets out of its room."""

from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ichd.domain.role import Role
from ichd.web import Entry
from ichd.web.access.accounts import Accounts
from ichd.web.access.secret import new_token
from ichd.web.access.standing import Standing, Standings
from tests.web.archive import NAMESPACE, Archive, slices
from tests.web.conftest import client_of

TOKENS = {role: new_token() for role in Role}
FUZZED = settings(
    max_examples=150, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)

STRANGE = st.one_of(
    st.text(max_size=70),
    st.sampled_from(["..", ".", "%2e%2e", "..%2f..%2fetc%2fpasswd", "\x00", "1.2.840.1", "1" * 65, "-1", "0", "'--"]),
    st.sampled_from(["*", "?", "%", "_", "\\", "1,2,3", "1,1e9", "99999999999999999999", "{}", "<script>", "NaN"]),
)
PATHS = (
    "/",
    "/studies/{}",
    "/api/studies",
    "/api/studies/{}",
    "/api/studies/{}/patient",
    "/api/studies/{}/review",
    "/api/studies/{}/heatmaps",
    "/api/studies/{}/heatmaps/{}/{}.png",
    "/api/refusals",
    "/studies/{}/review",
    "/static/{}",
    "/docs/{}",
    "/login",
    f"{NAMESPACE}/studies",
    f"{NAMESPACE}/series",
    f"{NAMESPACE}/instances",
    f"{NAMESPACE}/studies/{{}}",
    f"{NAMESPACE}/studies/{{}}/metadata",
    f"{NAMESPACE}/studies/{{}}/series/{{}}/instances",
    f"{NAMESPACE}/studies/{{}}/series/{{}}/instances/{{}}",
    f"{NAMESPACE}/studies/{{}}/series/{{}}/instances/{{}}/frames/{{}}",
    f"{NAMESPACE}/studies/{{}}/series/{{}}/instances/{{}}/rendered",
    f"{NAMESPACE}/studies/{{}}/series/{{}}/instances/{{}}/bulkdata/{{}}",
)
NAMES = ("limit", "state", "offset", "includefield", "PatientName", "StudyDate", "ModalitiesInStudy", "00100010")
NAMES_OF_PICTURES = ("window", "viewport", "quality", "annotation", "accept", "frame", "view", "side", "next")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    found = Archive(tmp_path_factory.mktemp("hostile"))
    for content in slices()[:2]:
        found.file(content)
    return found


@pytest.fixture(scope="module")
def clients(archive: Archive) -> dict[Role, TestClient]:
    """One of each role; an error of ours that reaches none of our answers is raised here."""
    found = {}
    for role in Role:
        entry = Entry(
            accounts=Accounts({each: hashed for each, (_, hashed) in TOKENS.items()}),
            standings=Standings({each: Standing(role=each) for each in Role}),
        )
        found[role] = client_of(archive.folder, entry=entry)
        found[role].headers["Authorization"] = f"Bearer {TOKENS[role][0]}"
    return found


@pytest.fixture(scope="module")
def real(archive: Archive, clients: dict[Role, TestClient]) -> list[str]:
    """UIDs that lead somewhere, so that a part of the requests gets further."""
    (found, *_) = clients[Role.ADMIN].get(f"{NAMESPACE}/instances").json()
    return [found[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018")]


def test_nothing_that_is_asked_is_an_error_of_ours(clients: dict[Role, TestClient], real: list[str]) -> None:
    @FUZZED
    @given(data=st.data())
    def ask(data: st.DataObject) -> None:
        path = data.draw(st.sampled_from(PATHS))
        usual = iter(real)
        while "{}" in path:
            part = next(usual, "1") if data.draw(st.booleans()) else data.draw(STRANGE)
            path = path.replace("{}", quote(part, safe="%"), 1)
        names = st.sampled_from(NAMES + NAMES_OF_PICTURES) | STRANGE
        query = data.draw(st.dictionaries(names, STRANGE, max_size=3))
        accept = data.draw(st.sampled_from(["*/*", "text/html", "application/dicom+json", "image/png", ";;q=x", ""]))
        method = data.draw(st.sampled_from(["GET", "GET", "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"]))
        body = data.draw(st.binary(max_size=200)) if method in {"POST", "PUT"} else None
        kind = data.draw(st.sampled_from(["application/json", "application/x-www-form-urlencoded", "x"]))
        client = clients[data.draw(st.sampled_from(list(Role)))]

        answer = client.request(
            method, path, params=query, content=body, headers={"Accept": accept, "Content-Type": kind}
        )

        assert answer.status_code < 500, (method, path, query, answer.text[:300])
        assert "Traceback" not in answer.text

    ask()


@pytest.mark.parametrize(
    "path",
    [
        "/static/../accounts.py",
        "/static/..%2f..%2fweb/pages.py",
        "/static/%2e%2e/%2e%2e/settings/web.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/..%5c..%5cpages.py",
        "/static/ichd.css%00.png",
        "/docs/..%2f__init__.py",
        "/docs/%2e%2e%2f__init__.py",
        "/docs/redoc.standalone.js",
        "/studies/..%2f..%2f..%2fetc%2fpasswd",
        "/api/studies/..%2f..%2fetc%2fpasswd",
        f"{NAMESPACE}/studies/..%2f..%2fetc%2fpasswd",
        f"{NAMESPACE}/studies/1.2/series/1.2/instances/..%2f..%2fichd.db",
    ],
)
def test_no_address_leads_out_of_its_folder(clients: dict[Role, TestClient], path: str) -> None:
    answer = clients[Role.ADMIN].get(path)

    assert answer.status_code == 404
    for secret in ("root:", "import ", "SQLite format"):
        assert secret not in answer.text


@pytest.mark.parametrize("path", ["/login", "/logout", "/api/studies/1.2/review", "/studies/1.2/review", "/nowhere"])
def test_a_body_that_is_too_long_is_not_read(clients: dict[Role, TestClient], path: str) -> None:
    client = clients[Role.ADMIN]

    assert client.post(path, content=b"x" * (16 << 10) + b"x").status_code == 413
    assert client.post(path, content=iter([b"x"] * 10)).status_code == 411
    for length in ("-1", "1e3", "0x10", "99999999999999999999", "٣"):
        headers = [(b"content-length", length.encode())]
        assert client.request("POST", path, headers=headers).status_code == 413


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic " + "A" * 60_000},
        {"Authorization": "Bearer " + "é" * 1000},
        {"Cookie": "; ".join(f"c{n}=x" for n in range(5000))},
        {"Cookie": "ichd=" + "x" * 60_000},
        {"Accept": ",".join(["text/html;q=0.1"] * 4000)},
        {"X-Forwarded-For": "," * 20_000},
        {"Origin": "https://[", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://["},
        {"Host": "[::1"},
        {"Content-Type": "application/x-www-form-urlencoded;" * 500},
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_heads_that_are_bombs_are_answered(
    clients: dict[Role, TestClient], method: str, headers: dict[str, str]
) -> None:
    for path in ("/", "/api/studies", f"{NAMESPACE}/studies"):
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
        assert clients[Role.VIEWER].request(method, path, headers=raw).status_code < 500


def test_a_page_of_the_archive_shows_text_and_runs_nothing(tmp_path: Path) -> None:
    """The same in a real browser: tests/browser/test_hostile_text.py."""
    page = client_of(tmp_path).get("/studies/%3Cscript%3Ealert(1)%3C%2Fscript%3E")

    assert page.status_code == 404
    assert "<script>alert" not in page.text
