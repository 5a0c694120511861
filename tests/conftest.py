"""What holds for every test."""

import os

# Parallel workers share the cores: without this each would start a thread a core for every matrix product, and the
# threads would mostly wait for one another. It must be set before numpy or torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
