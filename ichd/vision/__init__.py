"""DICOM files to a head scan, to windows, to probabilities. The only torch."""
