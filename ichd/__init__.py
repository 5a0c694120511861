"""Head CT haemorrhage triage: a study comes in by DICOM, a Structured Report goes back to the PACS."""

__version__ = "0.1.0"
