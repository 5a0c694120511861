"""Which certificates end soon: all that the settings name, on the machine that has them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from ichd.app.certificates import certificate_files, ends_of, trouble_of
from ichd.domain.reason import Reason
from ichd.settings import load_settings
from tests.intake.certificates import Authority

MONTH = timedelta(days=30)


def test_what_ends_within_a_month_or_has_ended_is_named_the_first_to_end_first(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    over, soon, well = (
        authority.issue(name, to_days=days) for name, days in (("over", -1), ("soon", 10), ("well", 90))
    )
    ends, faults = ends_of({"web": soon.certificate, "dicom.tls": over.certificate, "audit": well.certificate})
    assert set(ends) == {"web", "dicom.tls", "audit"}
    assert not faults

    trouble = trouble_of(ends, faults, within=MONTH, now=datetime.now(UTC))

    assert trouble is not None
    assert trouble.reason is Reason.CERTIFICATE_EXPIRING
    assert trouble.detail == f"dicom.tls ended on {ends['dicom.tls']:%Y-%m-%d}; web ends on {ends['web']:%Y-%m-%d}"


def test_one_that_was_renewed_is_no_trouble_any_more(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("web", to_days=90)
    ends, faults = ends_of({"web": pair.certificate})
    assert trouble_of(ends, faults, within=MONTH, now=datetime.now(UTC)) is None


def test_a_file_of_another_machine_is_left_out_and_a_broken_one_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    ends, faults = ends_of({"web": tmp_path / "elsewhere.pem", "audit": broken})
    assert not ends

    trouble = trouble_of(ends, faults, within=MONTH, now=datetime.now(UTC))

    assert trouble is not None
    assert "audit: " in trouble.detail
    assert "holds no certificate" in trouble.detail
    assert "web" not in trouble.detail


def test_all_that_the_settings_name_are_looked_at(tmp_path: Path) -> None:
    pair = 'certificate = "c.pem", key = "k.pem"'
    (tmp_path / "ichd.toml").write_text(
        f"""
        [dicom]
        tls = {{{pair}}}
        [web]
        certificate = "web.pem"
        key = "k.pem"
        [audit]
        syslog = "logs.example:6514"
        certificate = "audit.pem"
        key = "k.pem"
        [[source]]
        name = "vna"
        address = "vna.example:2762"
        ae_title = "VNA"
        tls = {{{pair}}}
        [[destination]]
        name = "pacs"
        address = "pacs.example:2762"
        ae_title = "PACS"
        tls = {{{pair}}}
        [[destination]]
        name = "plain"
        address = "pacs.example:104"
        ae_title = "PACS"
        """
    )
    files = certificate_files(load_settings(tmp_path / "ichd.toml"))
    assert {name: path.name for name, path in files.items()} == {
        "dicom.tls": "c.pem",
        "web": "web.pem",
        "destination pacs": "c.pem",
        "source vna": "c.pem",
        "audit": "audit.pem",
    }
