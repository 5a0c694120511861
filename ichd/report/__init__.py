"""A finding to DICOM objects. Pure: no network, no database."""
