"""The file list is the architecture. What may import what stands in ``pyproject.toml``."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
CONNECTOR = CHECKOUT / "connector"
DETECTIONS = CHECKOUT / "detections"

CONTRACT = "In the connector, edge modules alone touch the world"
"""The import contract that names the edge modules, in ``pyproject.toml``. All others are pure."""


def edge_modules() -> frozenset[str]:
    """Return the modules of audit_feed that may touch the world, such as ``feed/client``."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [c for c in project["tool"]["importlinter"]["contracts"] if c["name"] == CONTRACT]
    names = (line.partition(" ")[0] for line in contract["ignore_imports"])
    return frozenset(name.removeprefix("audit_feed.").replace(".", "/") for name in names)


EDGE = edge_modules() | {
    "ledger/table_coverage",
    "ledger/table_listing",
    "ledger/table_repair",
    "ledger/table_snapshot",
}
"""These import no edge package themselves, but the edge modules they read the tables with."""
BLOCKED = ("azure", "duckdb", "duckdb_kql", "mailvigil", "opentelemetry", "requests", "sqlite3")
FORBIDDEN_NAMES = frozenset({"utils", "util", "helpers", "helper", "common", "manager", "base"})
MAX_FUNCTION_LINES = 50

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

IMPORT_BLOCKED = """
import importlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ImportError(f"{name} is not there")

blocked = sys.argv[1].split(",")
sys.meta_path.insert(0, Blocked())
sys.path.insert(0, sys.argv[2])
for module in sys.argv[3:]:
    importlib.import_module(module)
"""


def sources(*roots: Path) -> list[Path]:
    return sorted(path for root in roots for path in root.rglob("*.py"))


SOURCES = sources(CONNECTOR, DETECTIONS)
PURE = [
    path
    for path in sources(CONNECTOR / "audit_feed")
    if path.relative_to(CONNECTOR / "audit_feed").with_suffix("").as_posix() not in EDGE
]
SHORT = 4
"""Lines of a trigger's body: what it does is tested where it stands."""
SHORT_BODY = 60
"""Characters of a body that says no more than which function it calls."""
SHORT_PATTERN = 22
"""Characters of a call of ``re.compile`` for words or blanks."""


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def place(path: Path, node: ast.AST | None = None) -> str:
    return f"{path.relative_to(CHECKOUT)}:{getattr(node, 'lineno', 1)}"


def imported(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Yield the top-level package of every absolute import, also of those inside functions."""
    for node in ast.walk(parse(path)):
        match node:
            case ast.Import():
                yield from ((alias.name.partition(".")[0], node) for alias in node.names)
            case ast.ImportFrom(module=str(module), level=0):
                yield module.partition(".")[0], node


def importers(package: str, paths: list[Path]) -> list[str]:
    return [place(path, node) for path in paths for name, node in imported(path) if name == package]


def is_public(name: str) -> bool:
    return not name.startswith("_")


def documented(path: Path) -> Iterator[tuple[str, Documented]]:
    """Yield the module, its public classes and functions, and its classes' public methods."""
    module = parse(path)
    yield path.stem, module
    for node in module.body:
        if isinstance(node, Documented) and is_public(node.name):
            yield node.name, node
        if isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from (
                (f"{node.name}.{method.name}", method)
                for method in node.body
                if isinstance(method, Function) and is_public(method.name)
            )


def test_the_project_has_modules_to_judge() -> None:
    assert len(SOURCES) > 10
    assert len(PURE) > 2


def test_a_trigger_does_nothing_but_call_its_step() -> None:
    module = parse(CONNECTOR / "function_app.py")

    long = [n.name for n in module.body if isinstance(n, Function) and len(n.body) > SHORT]
    assert long == []


def test_sigma_holds_no_python_because_pysigma_owns_that_package() -> None:
    assert sources(CHECKOUT / "sigma") == []


def test_pure_connector_modules_load_where_azure_and_duckdb_are_absent() -> None:
    modules = [
        ".".join(path.relative_to(CONNECTOR).with_suffix("").parts).removesuffix(".__init__")
        for path in PURE
    ]

    command = [sys.executable, "-P", "-c", IMPORT_BLOCKED, ",".join(BLOCKED), str(CONNECTOR)]
    done = subprocess.run([*command, *modules], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("package", "owner"),
    [("duckdb_kql", "engine/translation.py"), ("py_mini_racer", "compiler/parser.py")],
)
def test_one_module_alone_imports_the_package(package: str, owner: str) -> None:
    others = [path for path in SOURCES if path != DETECTIONS / "mailvigil" / owner]

    assert importers(package, others) == []


@pytest.mark.parametrize("root", ["connector", "detections", "tests", "bench"])
def test_no_module_is_a_drawer_for_everything(root: str) -> None:
    paths = sources(CHECKOUT / root)
    names = [path for path in paths if {path.stem, path.parent.name} & FORBIDDEN_NAMES]

    assert [place(path) for path in names] == []


def test_no_function_is_longer_than_a_screen() -> None:
    paths = [*SOURCES, *sources(CHECKOUT / "tests", CHECKOUT / "bench")]
    functions = (
        (path, node)
        for path in paths
        for node in ast.walk(parse(path))
        if isinstance(node, Function)
    )

    long = [
        f"{place(path, node)} {node.name}"
        for path, node in functions
        if (node.end_lineno or node.lineno) - node.lineno + 1 > MAX_FUNCTION_LINES
    ]
    assert long == []


def test_everything_public_says_what_it_is() -> None:
    silent = [
        f"{place(path, node)} {name}"
        for path in SOURCES
        for name, node in documented(path)
        if not ast.get_docstring(node)
    ]

    assert silent == []


def defined_types(path: Path) -> Iterator[str]:
    """Yield the classes of a module, and the other names at its top that are written like them."""
    for node in parse(path).body:
        match node:
            case ast.ClassDef(name=name):
                yield name
            case ast.Assign(targets=[ast.Name(id=name)]) if re.match(r"_?[A-Z][a-z]", name):
                yield name


def test_a_type_has_a_name_of_its_own_in_the_whole_product() -> None:
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        for name in defined_types(path):
            places.setdefault(name, []).append(place(path))

    assert len(places) > 300
    assert {name: there for name, there in places.items() if len(there) > 1} == {}


def bodies(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Yield what each function does, without its docstring, if that is more than one call."""
    for node in ast.walk(parse(path)):
        if isinstance(node, Function):
            steps = node.body[bool(ast.get_docstring(node)) :]
            if len(done := ast.unparse(ast.Module(steps, []))) > SHORT_BODY:
                yield done, node


def compiled_patterns(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Yield the regular expressions that a module keeps under a name."""
    for node in parse(path).body:
        match node:
            case ast.Assign(value=ast.Call(func=ast.Attribute(attr="compile")) as call):
                if len(written := ast.unparse(call)) > SHORT_PATTERN:
                    yield written, node


@pytest.mark.parametrize("parts", [bodies, compiled_patterns])
def test_no_two_places_of_the_product_say_the_same(
    parts: Callable[[Path], Iterator[tuple[str, ast.AST]]],
) -> None:
    places: dict[str, list[str]] = {}
    for path in SOURCES:
        for written, node in parts(path):
            places.setdefault(written, []).append(place(path, node))

    assert len(places) > 30
    assert {written: there for written, there in places.items() if len(there) > 1} == {}


NO_NOUN = frozenset({"found", "told", "tell", "heard", "heed", "kept", "one", "of", "thing"})
"""As names of variables and arguments they do not say what they hold."""


def variables(path: Path) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that functions and modules give to values."""
    for node in ast.walk(parse(path)):
        match node:
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name, node


def test_a_variable_has_the_name_of_what_it_holds() -> None:
    named = [(path, name, node) for path in SOURCES for name, node in variables(path)]

    assert len(named) > 1_000
    assert [f"{place(p, node)} {name}" for p, name, node in named if name in NO_NOUN] == []


IS_NO = re.compile(
    r"(?<!\bthere)(?<!\bhere)(?<!\bthat) (is|are) no (?!longer|more\b|earlier|later|other)",
    re.IGNORECASE,
)


def test_no_sentence_says_is_no_where_it_means_is_not_a() -> None:
    pages = [*(CHECKOUT / "docs").glob("*.md"), *CHECKOUT.glob("*.md")]
    paths = [*SOURCES, *sources(CHECKOUT / "tests", CHECKOUT / "bench"), *pages]

    said = [
        f"{path.relative_to(CHECKOUT)}: {sentence.group()}"
        for path in paths
        for sentence in IS_NO.finditer(path.read_text(encoding="utf-8"))
    ]
    assert said == []


@pytest.mark.parametrize(
    ("code", "tests"),
    [("connector/audit_feed", "connector"), ("detections/mailvigil", "detections")],
)
def test_every_room_of_the_code_has_a_room_of_tests(code: str, tests: str) -> None:
    rooms = {path.parent.name for path in (CHECKOUT / code).glob("*/__init__.py")}
    below = CHECKOUT / "tests" / tests

    assert len(rooms) > 4
    assert [room for room in rooms if not [*(below / room).rglob("test_*.py")]] == []
