"""A receiver can look up every private code of a report."""

from pathlib import Path

from pydicom.sr.coding import Code

from ichd.report import codes

PAGE = (Path(__file__).parents[2] / "docs" / "structured-report.md").read_text()


def private_codes() -> list[Code]:
    tables = [codes.TRIAGE_VALUE.values(), vars(codes).values()]
    found = [each for table in tables for each in table if isinstance(each, Code)]
    return [each for each in found if each.scheme_designator == codes.PRIVATE_SCHEME]


def test_every_private_code_is_documented() -> None:
    assert len(private_codes()) > 5
    assert [code.value for code in private_codes() if f"`{code.value}`" not in PAGE] == []


def test_every_finding_is_documented() -> None:
    for name, code in codes.FINDING_TYPE.items():
        site = codes.FINDING_SITE[name]
        row = f"| `{name}` | {code.value} SCT {code.meaning} | {site.value} SCT {site.meaning} |"
        assert row in PAGE
