"""The direction of imports: jobs to pipeline and trainer, both to schemas, none back; heavy libraries stay at their place."""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = {
    "schemas": set(),
    "pipeline": {"schemas"},
    "trainer": {"schemas"},
    "jobs": {"pipeline", "trainer", "schemas"},
}
# What `m3w --help` has to do without: each of these takes a tenth of a second or more to import.
HEAVY = {"apache_beam", "datasets", "lxml", "numpy", "pandas", "PIL", "pyarrow", "torch", "transformers"}


@dataclass(frozen=True)
class Import:
    """`import module` or `from module import name`: at once, when a function runs, or only for a type checker."""

    module: str
    name: str
    when: Literal["load", "call", "typing"]

    def among(self, modules: Collection[str]) -> str:
        """The module that is meant: of `from a import b` it is a.b where that is one of the modules."""
        inner = f"{self.module}.{self.name}"
        return inner if inner in modules else self.module


def imports(source: str) -> Iterator[Import]:
    """All imports of a source, wherever they stand."""
    stack: list[tuple[ast.AST, Literal["load", "call", "typing"]]] = [(ast.parse(source), "load")]
    while stack:
        node, when = stack.pop()
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, "", when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(node.module or "", alias.name, when) for alias in node.names)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            when = "call"
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            when = "typing"
        stack.extend((child, when) for child in ast.iter_child_nodes(node))


def sources(package: str) -> dict[str, str]:
    """The package's modules by dotted name, with their source."""
    paths = sorted((ROOT / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text()
        for path in paths
    }


def top(module: str) -> str:
    """The package at the top of a dotted name."""
    return module.partition(".")[0]


@pytest.mark.parametrize("package", LAYERS)
def test_imports_run_one_way(package: str) -> None:
    """A package imports, of ours, itself and what stands below it."""
    above = set(LAYERS) - LAYERS[package] - {package}

    wrong = {
        (name, i.module) for name, text in sources(package).items() for i in imports(text) if top(i.module) in above
    }

    assert set() == wrong


@pytest.mark.parametrize("package", LAYERS)
def test_no_cycles(package: str) -> None:
    """The modules of a package import one another without a circle, imports inside functions counted."""
    modules = sources(package)
    graph = {
        name: {i.among(modules) for i in imports(text)} & modules.keys() - {name} for name, text in modules.items()
    }

    assert len(modules) == len(list(graphlib.TopologicalSorter(graph).static_order()))


def test_beam_is_imported_in_two_places() -> None:
    """Beam stands in pipeline/transforms/, and in the functions of jobs."""
    found = {
        (name, i.when)
        for package in LAYERS
        for name, text in sources(package).items()
        for i in imports(text)
        if top(i.module) == "apache_beam"
    }

    assert set() == {
        (name, when)
        for name, when in found
        if not name.startswith("pipeline.transforms.") and not (top(name) == "jobs" and when != "load")
    }


def test_torch_is_imported_by_the_trainer_and_by_scorers() -> None:
    """Torch stands in the trainer, and in functions of jobs and of pipeline/scores/, which load a model; so does transformers."""
    found = {
        (name, i.when)
        for package in LAYERS
        for name, text in sources(package).items()
        for i in imports(text)
        if top(i.module) in ("torch", "transformers")
    }

    assert set() == {
        (name, when)
        for name, when in found
        if top(name) != "trainer" and not (name.startswith(("jobs.", "pipeline.scores.")) and when != "load")
    }


def test_the_package_does_not_load_beam() -> None:
    """`import pipeline` is for people who want one function: it does not import pipeline.transforms."""
    reached, ahead = set(), ["pipeline"]
    modules = sources("pipeline")
    while ahead:
        name = ahead.pop()
        reached.add(name)
        loaded = {i.among(modules) for i in imports(modules[name]) if i.when == "load"}
        ahead += loaded & modules.keys() - reached

    assert set() == {name for name in reached if name.startswith("pipeline.transforms")}


def test_the_command_line_loads_nothing_heavy() -> None:
    """What `m3w --help` imports leaves the heavy libraries alone."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, jobs.cli; print(*{name.partition('.')[0] for name in sys.modules})"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()

    assert set() == HEAVY & set(loaded)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b as c", {Import("a.b", "", "load")}),
        ("from a import b", {Import("a", "b", "load")}),
        ("class C:\n  import a", {Import("a", "", "load")}),
        ("try:\n  import a\nexcept ImportError:\n  import b", {Import("a", "", "load"), Import("b", "", "load")}),
        ("def f():\n  if x:\n    import a", {Import("a", "", "call")}),
        ("if TYPE_CHECKING:\n  import a", {Import("a", "", "typing")}),
    ],
)
def test_imports_are_found(source: str, expected: set[Import]) -> None:
    """An import is found wherever it stands, and told by when it happens."""
    assert expected == set(imports(source))


def test_a_name_may_be_a_module() -> None:
    """`from a import b` means a.b where that is a module, else a."""
    assert Import("a", "b", "load").among(["a", "a.b"]) == "a.b"
    assert Import("a", "c", "load").among(["a", "a.b"]) == "a"
