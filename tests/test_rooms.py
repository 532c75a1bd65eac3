"""Heavy libraries stay in their rooms, and load only when they are used.

That a room imports from lower levels only is a contract in ``pyproject.toml`` (``lint-imports``).
"""

from __future__ import annotations

import subprocess
import sys

import grimp
import pytest

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
