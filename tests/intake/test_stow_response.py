"""The document of the STOW-RS door names every code that a client may meet."""

from pathlib import Path

from ichd.domain.reason import Reason
from ichd.intake.claim import Claim
from ichd.intake.status import STATUS
from ichd.intake.stow.response import CONFLICTING, store_response
from ichd.intake.stow.storing import Failed

DOCUMENT = (Path(__file__).parents[2] / "docs" / "stow-rs.md").read_text()
NAMELESS = Claim(sop_class_uid="", sop_instance_uid="", transfer_syntax_uid="")


def code_of(reason: Reason) -> int:
    record = store_response([Failed(claim=NAMELESS, reason=reason, transient=False)], "http://x/studies")
    items = record["OtherFailuresSequence"]
    assert isinstance(items, list)
    (item,) = items
    code = item["FailureReason"]
    assert isinstance(code, int)
    return code


def test_every_code_is_documented() -> None:
    codes = {code_of(reason) for reason in (*STATUS, Reason.INTERNAL_ERROR)} | {CONFLICTING}
    documented = {code for code in codes if f"`{code:04X}`" in DOCUMENT}
    assert documented == codes


def test_a_reason_that_c_store_has_no_status_for_is_a_processing_failure() -> None:
    assert code_of(Reason.INTERNAL_ERROR) == 0x0110
