"""DICOM files to a head scan, to windows, to probabilities. The only torch."""

import sys

# Importing OpenVINO reports the import, with an id of this machine, to its maker's statistics, unless the package that
# does so is missing; NNCF does the same. A daemon inside a hospital tells nobody: for our process it is missing. Here,
# because every import of them is below.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
