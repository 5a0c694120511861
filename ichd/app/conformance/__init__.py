"""`ichd conformance`: a DICOM Conformance Statement (PS3.2) of this installation, from its code and its settings."""

from ichd.app.conformance.rendering import FORMATS, render
from ichd.app.conformance.statement import statement_of

__all__ = ["FORMATS", "render", "statement_of"]
