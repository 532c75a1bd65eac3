"""Heavy libraries stay in their rooms, and load only when they are used.

That a room imports from lower levels only is a contract in ``pyproject.toml`` (``lint-imports``).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import grimp
import pytest

import asi_verify
import asi_verify.prove

HOMES = {
    "art": ["stress.attacks"],
    "auto_LiRPA": ["bounds.lirpa"],
    "cleanlab": ["audit"],
    "cryptography": ["attest"],
    "filelock": ["store"],
    "google": ["lowering"],
    "jinja2": ["report"],
    "joblib": ["prove.processes"],
    "matplotlib": ["report"],
    "onnx": ["lowering"],
    "onnxruntime": ["runtime"],
    "PIL": ["data", "report", "stress"],
    "pooch": ["data"],
    "rich": ["cli"],
    "safetensors": ["repair"],
    "scipy": ["guard", "prove", "repair", "stress"],
    "sqlalchemy": ["store"],
    "torch": ["_doctor", "bounds", "export", "prove", "repair", "stress", "zoo"],
    "typer": ["cli"],
    "z3": ["smt"],
}


@pytest.fixture(scope="module")
def graph():
    return grimp.build_graph("asi_verify", include_external_packages=True)


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_in_its_rooms_alone(library, graph):
    """Whoever replaces a library finds all of its uses in one place."""
    rooms = tuple(f"asi_verify.{home}" for home in HOMES[library])
    users = graph.find_modules_that_directly_import(library) if library in graph.modules else set()
    strangers = {user for user in users if not f"{user}.".startswith(tuple(f"{r}." for r in rooms))}
    assert not strangers


def test_no_library_is_without_a_home(graph):
    """A new dependency is a decision, written down here and in docs/dependencies.md."""
    outside = {m for m in graph.modules if not m.startswith("asi_verify")}
    assert outside - set(HOMES) - set(sys.stdlib_module_names) == {"numpy"}


@pytest.mark.parametrize("module", ["asi_verify", "asi_verify.checker", "asi_verify.cli"])
def test_importing_is_light(module):
    """Nothing heavy is loaded before it is used; the checker's own needs are numpy and onnx."""
    allowed = {"google", "onnx", "rich", "typer"}
    code = f"import sys, {module}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not (set(HOMES) - allowed) & set(done.stdout.split())


@pytest.mark.parametrize("package", [asi_verify, asi_verify.prove], ids=lambda p: p.__name__)
def test_names_on_demand_are_those_that_type_checkers_see(package):
    """Each is listed, found where it is said to be, and imported for type checkers."""
    assert set(package._HOME) == set(package.__all__) <= set(dir(package))
    (typed,) = [
        node.body
        for node in ast.parse(Path(package.__file__).read_text("utf-8")).body
        if isinstance(node, ast.If)
    ]
    seen = {alias.name: one.module for one in typed for alias in one.names}
    assert seen == {n: f"{package.__name__}.{home}" for n, home in package._HOME.items()}
    for name in package.__all__:
        assert getattr(package, name)
    with pytest.raises(AttributeError, match=f"{package.__name__}' has no attribute 'nothing'"):
        package.nothing  # noqa: B018
