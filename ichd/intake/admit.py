"""The counter as the doors see it."""

from ichd.intake.claim import ACCEPTED_SOP_CLASSES, Admission, Claim, Sender
from ichd.intake.counter import Counter
from ichd.intake.visit import Reception, Visit

__all__ = ["ACCEPTED_SOP_CLASSES", "Admission", "Claim", "Counter", "Reception", "Sender", "Visit"]
