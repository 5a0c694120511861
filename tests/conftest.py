"""What holds for every test."""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ("tests.browser.chromium", "tests.databases")

# Parallel workers share the cores: without this each would start a thread a core for every matrix product, and the
# threads would mostly wait for one another. It must be set before numpy or torch is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Timing decides no test: on a machine that does other work beside, any example may take long once.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")

#: Set by .ci/run, which installs the peers: Orthanc, dcmtk, dicom3tools, OpenJPH, PostgreSQL.
PEERS_PROMISED = "PEERS_PROMISED"
#: How every skip says that a peer is missing.
_MISSING_PEER = "is not installed"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where the peers are promised, a test that skips for lack of one has proven nothing, and fails."""
    report = yield
    if report.skipped and os.environ.get(PEERS_PROMISED) == "1":
        reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
        if _MISSING_PEER in reason:
            report.outcome = "failed"
            report.longrepr = f"{reason}, but {PEERS_PROMISED}=1 says that every peer is here"
    return report
