"With LM_NBDEV_CI=1 a skipped test is a failed one: there, everything that a test may need is at hand."
import os

import pytest


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.skipped and os.environ.get("LM_NBDEV_CI"):
        report.outcome, report.longrepr = "failed", f"skipped, which is not allowed here: {report.longrepr}"
