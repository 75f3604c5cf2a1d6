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
PYTEST = "pytest==9.2.0"
TEST_DEPENDENCIES = (
    "hatchling==1.33.0",
    "coverage==7.17.3",
    "hypothesis==6.170.15",
    PYTEST,
    "pytest-trio==0.8.0",
    "pytest-xdist==3.8.0",
    "TA-Lib==0.8.2",
)
#: What reads and writes bytes by position.
WIRE_TESTS = ("tests/property/test_wire_decoding.py", "tests/unit/exchange/test_frames.py")
#: Other people's clients: their file in tests/conformance, what they are pinned to.
CLIENTS = {
    "ccxt": ("ccxt_client.py", "ccxt==4.5.90"),
    "ccxt_pro": ("ccxt_pro_client.py", "ccxt==4.5.90"),
    "sdk": ("sdk_client.py", "binance-sdk-derivatives-trading-usds-futures==18.0.1"),
    "python_binance": ("python_binance_client.py", "python-binance==1.0.37"),
    # AGPL-3.0-or-later since 3.0: in an environment of its own, of this session alone, and never imported by aegis
    "cryptofeed": ("cryptofeed_client.py", "cryptofeed==3.0.1"),
}
#: The one Python that a client runs on, where it does not run on ours.
CLIENT_PYTHONS = {"cryptofeed": "3.13"}
#: Other libraries that our patterns and indicators are compared with; they bring pandas.
ORACLES = ("pandas==3.1.1", "smartmoneyconcepts==0.0.27", "talipp==2.7.0")
#: Property examples while numba is off: interpreted kernels are a hundred times slower.
INTERPRETED = {"NUMBA_DISABLE_JIT": "1", "AEGIS_TEST_EXAMPLES": "5"}
KERNEL_TESTS = (
    "tests/unit/kernels",
    "tests/property/test_analysis_seams.py",
    "tests/property/test_bars_merging.py",
    "tests/property/test_partial_depth.py",
    "tests/property/test_quick_text.py",
    "tests/property/test_smc_causality.py",
    "tests/property/test_smc_patterns.py",
    "tests/property/test_study.py",
    "tests/property/test_wire_decoding.py",
    "tests/property/test_wire_numbers.py",
)
#: As many processes as cores, each taking what the other has not begun.
PARALLEL = ("-n", "auto", "--dist", "worksteal")
#: Compiles what the engine, the exchange and a replay need, once, before several processes would.
WARM = (
    "python", "-c",
    "import trio, aegis.exchange.server, aegis.research.replay, aegis.trading; from aegis.runtime.warm import warm; "
    "trio.run(warm, print)",
)  # fmt: skip
#: What looks for rare failures, and how long it looks when asked by name.
FAULT_TESTS = ("tests/property", "tests/system/test_kill_and_resume.py")
THOROUGH = {"AEGIS_TEST_EXAMPLES": "1000", "AEGIS_TEST_KILLS": "20"}
#: Of the same replay, by Python.
DIGESTS: dict[object, str] = {}

VIRTUALENV = "virtualenv==21.15.8"
#: What `peers` measures beside ours: the Pythons it runs on, best first (none: the session's own), and exact versions.
PEERS = {
    "trio-websocket": ((), ("trio-websocket==0.12.2", "trio==0.35.0", "msgspec==0.22.0")),
    "websockets": ((), ("websockets==17.4", "uvloop==0.23.0", "msgspec==0.22.0")),
    "picows": ((), ("picows==2.3.1",)),
    # the last version under a permissive licence: later ones are AGPL
    "cryptofeed": (("3.13", "3.12"), ("cryptofeed==2.5.0",)),
    "nautilus": (("3.13", "3.12"), ("nautilus_trader==1.231.0",)),
    "smartmoneyconcepts": ((), ("smartmoneyconcepts==0.0.27", "pandas==3.1.1")),
    "talib": ((), ("TA-Lib==0.8.2",)),
}


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
    session.run(*WARM)
    session.run("coverage", "run", "-m", "pytest", *PARALLEL, "tests", env=environment)
    # the tracer cannot see into compiled code: the kernels' tests run once more without the compiler
    session.run("coverage", "run", "-m", "pytest", "-q", *PARALLEL, *KERNEL_TESTS, env=environment | INTERPRETED)
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
    session.run("python", "-m", "pytest", *(session.posargs or (*PARALLEL, "tests")))


@nox.session
def faults(session: nox.Session) -> None:
    """All faults, not only the slice that `tests` takes; then the wire's once more with every index checked."""
    _install(session, *TEST_DEPENDENCIES)
    session.run("python", "-m", "pytest", *(session.posargs or FAULT_TESTS), env=THOROUGH)
    if not session.posargs:
        session.run("python", "-m", "pytest", *WIRE_TESTS, env=THOROUGH | {"NUMBA_BOUNDSCHECK": "1"})


@nox.session
def market(session: nox.Session) -> None:
    """Ten seeds of the simulated market, a day each: there is nothing to be earned on it without an edge."""
    _install(session, *TEST_DEPENDENCIES)
    whole = {"AEGIS_TEST_MARKET": "whole"}
    patience = ("-o", "faulthandler_timeout=7200")
    session.run("python", "-m", "pytest", *patience, *(session.posargs or ("tests/market",)), env=whole)


@nox.session
def peers(session: nox.Session) -> None:
    """Other people's clients, decoders, backtest and signals beside ours, each pinned, in an environment of its own."""
    _install(session, VIRTUALENV)
    arguments = []
    for name in PEERS:
        python, why_not = _peer(session, name)
        arguments += ["--absent", f"{name}={why_not}"] if why_not else ["--peer", f"{name}={python}"]
    session.run(*WARM)  # no deadline of a measurement shall pass while it compiles
    session.run("python", "-m", "tests.peers", *arguments, *session.posargs)


def _peer(session: nox.Session, name: str) -> tuple[str, str]:
    """The Python of the environment that holds this peer, or why there is none."""
    versions, requirements = PEERS[name]
    place = os.path.join(session.create_tmp(), name)
    python = os.path.join(place, "bin", "python")
    wanted = [argument for version in versions for argument in ("--python", version)]
    try:
        session.run("virtualenv", "--quiet", *wanted, place, silent=True)
    except nox.command.CommandFailed:
        return "", f"needs Python {' or '.join(versions)}, and there is none here"
    try:
        session.run(python, "-m", "pip", "install", "--quiet", "--prefer-binary", *requirements, external=True)
    except nox.command.CommandFailed:
        return "", f"pip could not install {' '.join(requirements)}: its words are above"
    return python, ""


@nox.session
@nox.parametrize("client", list(CLIENTS), ids=list(CLIENTS))
def conformance(session: nox.Session, client: str) -> None:
    """Clients that we did not write, each in an environment of its own, against the simulated exchange."""
    file, pin = CLIENTS[client]
    tests = ("-m", "pytest", "-c", "tests/conformance/pytest.ini", f"tests/conformance/{file}")
    wanted = CLIENT_PYTHONS.get(client)
    if wanted is None:
        _install(session, pin, PYTEST)
        session.run("python", *tests)
        return
    _install(session, VIRTUALENV)
    place = os.path.join(session.create_tmp(), client)
    try:
        session.run("virtualenv", "--quiet", "--python", wanted, place, silent=True)
    except nox.command.CommandFailed:
        session.skip(f"{client} needs Python {wanted}, and there is none here")
    python = os.path.join(place, "bin", "python")
    session.run(python, "-m", "pip", "install", "--quiet", "-e", ".", pin, PYTEST, external=True)
    session.run(python, *tests, external=True)


@nox.session
def oracles(session: nox.Session) -> None:
    """Patterns and indicators against other libraries."""
    _install(session, *TEST_DEPENDENCIES, *ORACLES)
    session.run("python", "-m", "pytest", *(session.posargs or ("tests/oracles",)))
