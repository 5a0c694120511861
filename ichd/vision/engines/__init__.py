"""Engines run a bundle's network: slices to embeddings, embeddings to probabilities."""

import sys

# Importing OpenVINO reports the import, with an id of this machine, to its maker's statistics, unless the package that
# does so is missing. A daemon inside a hospital tells nobody: for our process it is missing.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
