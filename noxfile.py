"""`nox` runs lint, type and tests; `nox -s NAME -- ARGS` runs one session with arguments for its tool."""

from __future__ import annotations

import os

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "type", "tests"]
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = False

RUFF = "ruff==0.17.6"
MYPY = "mypy==2.4.1"
IMPORT_LINTER = "import-linter==2.16"
TEST_DEPENDENCIES = (
    "hatchling==1.33.0",
    "coverage==7.17.3",
    "hypothesis==6.170.15",
    "pytest==9.2.0",
    "pytest-trio==0.8.0",
    "TA-Lib==0.8.2",
)
#: Other libraries that our patterns and indicators are compared with; they bring pandas.
ORACLES = ("pandas==3.1.1", "smartmoneyconcepts==0.0.27", "talipp==2.7.0")
#: Property examples while numba is off: interpreted kernels are a hundred times slower.
INTERPRETED = {"NUMBA_DISABLE_JIT": "1", "AEGIS_TEST_EXAMPLES": "5"}
KERNEL_TESTS = (
    "tests/unit/kernels",
    "tests/property/test_analysis_seams.py",
    "tests/property/test_bars_merging.py",
    "tests/property/test_smc_causality.py",
    "tests/property/test_smc_patterns.py",
    "tests/property/test_study.py",
    "tests/property/test_wire_decoding.py",
)
#: What looks for rare failures, and how long it looks when asked by name.
FAULT_TESTS = ("tests/property", "tests/system/test_kill_and_resume.py")
THOROUGH = {"AEGIS_TEST_EXAMPLES": "1000", "AEGIS_TEST_KILLS": "20"}
#: Of the same replay, by Python.
DIGESTS: dict[object, str] = {}


def _install(session: nox.Session, *dependencies: str) -> None:
    session.install("-e", ".", *dependencies)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, common mistakes, and the direction of imports."""
    _install(session, RUFF, IMPORT_LINTER)
    session.run("ruff", "check", *(session.posargs or (".",)))
    session.run("lint-imports", "--no-cache")


@nox.session(name="type")
def type_(session: nox.Session) -> None:
    """mypy, strict."""
    _install(session, MYPY)
    session.run("mypy", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything but the long runs, under branch coverage with its gates; with arguments: pytest alone."""
    _install(session, *TEST_DEPENDENCIES)
    if session.posargs:
        session.run("python", "-m", "pytest", *session.posargs)
        return
    # coverage needs a file of its own for every process that the system tests start
    environment = {"COVERAGE_FILE": os.path.join(session.create_tmp(), "coverage")}
    session.run("coverage", "erase", env=environment)
    # compiled once, before several processes would compile the same kernels at the same time
    session.run("python", "-c", "import trio; from aegis.runtime.warm import warm; trio.run(warm, print)")
    session.run("coverage", "run", "-m", "pytest", "tests", env=environment)
    # the tracer cannot see into compiled code: the kernels' tests run once more without the compiler
    session.run("coverage", "run", "-m", "pytest", "-q", *KERNEL_TESTS, env=environment | INTERPRETED)
    session.run("coverage", "combine", env=environment)
    report = ("coverage", "report", "--skip-covered", "--show-missing")
    session.run(*report, "--include=aegis/core/*", "--fail-under=100", env=environment)
    session.run(*report, "--omit=aegis/core/*", "--fail-under=85", env=environment)


@nox.session(python=["3.11", "3.12", "3.13"])
def compat(session: nox.Session) -> None:
    """The tests on every supported Python that is installed; a replay has the same digest on each."""
    _install(session, *TEST_DEPENDENCIES)
    told = session.run("python", "-m", "tests.support.digest", silent=True) or ""
    digest = told.strip().splitlines()[-1]
    session.log(f"digest {digest}")
    DIGESTS[session.python] = digest
    if len(set(DIGESTS.values())) > 1:
        session.error(f"the digest depends on the Python: {DIGESTS}")
    session.run("python", "-m", "pytest", *(session.posargs or ("tests",)))


@nox.session
def faults(session: nox.Session) -> None:
    """All faults, not only the slice that `tests` takes."""
    _install(session, *TEST_DEPENDENCIES)
    session.run("python", "-m", "pytest", *(session.posargs or FAULT_TESTS), env=THOROUGH)


@nox.session
def oracles(session: nox.Session) -> None:
    """Patterns and indicators against other libraries."""
    _install(session, *TEST_DEPENDENCIES, *ORACLES)
    session.run("python", "-m", "pytest", *(session.posargs or ("tests/oracles",)))
