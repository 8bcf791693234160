"With LM_NBDEV_CI=1 a skipped test is a failed one: there, everything that a test may need is at hand. `--long` turns the fuzzing up."
import os

import hypothesis
import pytest

# how busy the machine is says nothing about what must hold
hypothesis.settings.register_profile("course", deadline=None)
hypothesis.settings.load_profile("course")


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="ten times as many fuzzing cases, and 200 kills")


@pytest.fixture(scope="session")
def long(request):
    return request.config.getoption("--long")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.skipped and os.environ.get("LM_NBDEV_CI"):
        report.outcome, report.longrepr = "failed", f"skipped, which is not allowed here: {report.longrepr}"
