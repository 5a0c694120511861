"""`ichd commission`: phantoms along the live route to an archive and back, and a report of what came of each."""

from ichd.app.commission.acceptance import Acceptance, Plan, commission
from ichd.app.commission.page import write_report

__all__ = ["Acceptance", "Plan", "commission", "write_report"]
