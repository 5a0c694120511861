"""A receipt's row, written and read."""

from typing import Any

from sqlalchemy import Row

from ichd.domain.delivery import ObjectKind, Receipt
from ichd.store.tables import ReceiptRow


def fill_receipt(row: ReceiptRow, receipt: Receipt) -> None:
    """Write what is known of a delivery by now."""
    row.sent_at = receipt.sent_at
    row.sop_instance_uids = list(receipt.sop_instance_uids)
    row.sop_class_uid = receipt.sop_class_uid
    row.status = receipt.status
    row.left_out = [str(kind) for kind in receipt.left_out]
    row.proof = receipt.proof
    row.proved_at = receipt.proved_at


#: What `receipt_of` reads.
RECEIPT_COLUMNS = (
    ReceiptRow.destination,
    ReceiptRow.sent_at,
    ReceiptRow.sop_instance_uids,
    ReceiptRow.sop_class_uid,
    ReceiptRow.status,
    ReceiptRow.left_out,
    ReceiptRow.proof,
    ReceiptRow.proved_at,
)


def receipt_of(row: ReceiptRow | Row[*tuple[Any, ...]]) -> Receipt:
    """The receipt, without the address, which no table keeps; of the whole row or of `RECEIPT_COLUMNS`."""
    return Receipt(
        destination=row.destination,
        sent_at=row.sent_at,
        sop_instance_uids=tuple(row.sop_instance_uids),
        sop_class_uid=row.sop_class_uid,
        status=row.status,
        left_out=tuple(map(ObjectKind, row.left_out)),
        proof=row.proof,
        proved_at=row.proved_at,
    )
