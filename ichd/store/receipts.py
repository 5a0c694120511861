"""A receipt's row, written and read."""

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


def receipt_of(row: ReceiptRow) -> Receipt:
    """The receipt, without the address, which no table keeps."""
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
