"""Fixtures of the scenarios: a cluster, a registry, an installed chart, a namespace a module, and help on failure."""

import os
import sys
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from e2e.scenarios import diagnostics  # noqa: E402 - the path comes first
from e2e.scenarios.kube import Kube, KubectlError  # noqa: E402
from e2e.scenarios.operators import InCluster, find_deployment  # noqa: E402
from e2e.scenarios.place import Place, open_place  # noqa: E402
from e2e.scenarios.policies import installed  # noqa: E402
from e2e.scenarios.pushing import Registry  # noqa: E402


@dataclass
class Figures:
    """What the scenarios measured, printed at the end in tables."""

    rows: dict[str, list[tuple[str, ...]]] = field(default_factory=dict[str, list[tuple[str, ...]]])

    def add(self, table: str, *cells: str) -> None:
        """Add a row."""
        self.rows.setdefault(table, []).append(cells)


_FIGURES = pytest.StashKey[Figures]()


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Where a scenario leaves its figures."""
    return pytestconfig.stash.setdefault(_FIGURES, Figures())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the tables."""
    for title, rows in config.stash.get(_FIGURES, Figures()).rows.items():
        terminalreporter.section(title)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))


@pytest.fixture(scope="session")
def kube() -> Kube:
    """The cluster that KUBECONFIG and CONTEXT name."""
    found = Kube.from_environment()
    try:
        found.run("version", "--output=json")
    except KubectlError as error:
        pytest.exit(f"no cluster answers: {error}\nremedy: run `make cluster`, or set KUBECONFIG or CONTEXT", 2)
    return found


@pytest.fixture(scope="session")
def operator(kube: Kube) -> InCluster:
    """The installed operator."""
    found = find_deployment(kube)
    if found is None:
        pytest.exit("the operator is not installed\nremedy: `make demo`, or `helm install` of charts/modelwright", 2)
    return found


@pytest.fixture(scope="session")
def registry(kube: Kube) -> Registry:
    """Where sources are pushed to."""
    address = os.environ.get("REGISTRY", "")
    if not address:
        pytest.exit("REGISTRY is not set\nremedy: REGISTRY=host[:port], as nodes and this machine reach it", 2)
    insecure = installed(kube)["spec"].get("sources", {}).get("insecureRegistries", [])
    return Registry(address, insecure=address in insecure)


@pytest.fixture(scope="module")
def place(kube: Kube, operator: InCluster, request: pytest.FixtureRequest) -> Generator[Place]:
    """A namespace for the module."""
    del operator
    name = request.path.stem.removeprefix("test_").replace("_", "-")
    with open_place(kube, f"e2e-{name}") as opened:
        yield opened


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Collect what tells why a scenario failed, before its namespace goes."""
    report = yield
    if call.when != "teardown" and report.failed:
        fixtures: dict[str, Any] = getattr(item, "funcargs", {})
        if "kube" in fixtures:
            report.sections.append(("diagnostics", _explain(item.nodeid, fixtures)))
    return report


def _explain(test: str, fixtures: dict[str, Any]) -> str:
    kube: Kube = fixtures["kube"]
    namespaces = [value.namespace for value in fixtures.values() if isinstance(value, Place)]
    try:
        folder = diagnostics.collect(kube, namespaces, test.rpartition("/")[2])
        cause = diagnostics.first_cause(kube, namespaces)
    except (KubectlError, OSError) as error:
        return f"could not be collected: {error}"
    return f"first cause:\n{cause}\ncollected in {folder.relative_to(ROOT)}"
