"""The documentation: its code runs, its commands and links exist, nothing public is missing."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import inspect
import json
import re
import shlex
import socket
import sqlite3
from importlib import resources
from pathlib import Path

import pytest
import torch
import typer
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

import asi_verify as asi
from asi_verify import errors
from asi_verify import guard as guards
from asi_verify.attest import Verification, predicate_schema
from asi_verify.audit import readiness_schema
from asi_verify.checker import CheckResult
from asi_verify.checker.command import main as check_command
from asi_verify.cli import app
from asi_verify.core.bug import BugKind, BugState, Category
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Reason
from asi_verify.data import Task, medmnist_sets
from asi_verify.lowering.registry import REGISTRY
from asi_verify.repair import change_schema
from asi_verify.report import report_schema
from asi_verify.runtime import session
from asi_verify.store import SqliteBugLog
from asi_verify.stress import validation_schema

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
COMMANDS = typer.main.get_command(app).commands
NESTED = {
    f"{name} {word}": inner
    for name, command in COMMANDS.items()
    for word, inner in getattr(command, "commands", {}).items()
}
"""Commands of a command, by both words."""
WRONG_USE = typer.BadParameter.__base__
"""Click's ``UsageError``, from whichever copy of click this typer brings."""

_FENCE = re.compile(r"^```(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^```\s*$", re.M | re.S)


def page(name):
    """The text of a page under docs/."""
    return (DOCS / name).read_text("utf-8")


def blocks(text, *languages):
    """The fenced blocks of some languages, in order."""
    return [m["body"] for m in _FENCE.finditer(text) if m["language"] in languages]


def section(text, heading):
    """What stands under a heading, up to the next one of its level or above."""
    match = re.search(rf"^(#+) {re.escape(heading)}$", text, re.M)
    assert match, f"no section {heading!r}"
    level = len(match[1])
    rest = text[match.end() :]
    end = re.search(rf"^#{{1,{level}}} ", rest, re.M)
    return rest[: end.start()] if end else rest


def headings(text):
    """All headings, outside of code."""
    return re.findall(r"^#+ (.+?)\s*$", _FENCE.sub("", text), re.M)


def tables():
    """The module that makes the tables."""
    spec = importlib.util.spec_from_file_location("docs_tables", DOCS / "_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name_of(path):
    """A page's name as a test's."""
    return path.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("path", PAGES, ids=name_of)


# Code


def run_examples(path):
    """Run the examples of a page in order, with one fresh namespace for all of them."""
    for example in Sybil([PythonCodeBlockParser()]).parse(path).examples():
        example.evaluate()


@pytest.fixture
def offline(monkeypatch):
    """No network, and no data that happens to lie on this machine."""

    def refuse(*_):
        raise AssertionError("an example wants to reach the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.delenv("ASI_VERIFY_DATA", raising=False)
    monkeypatch.delenv("ASI_VERIFY_SHARED", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize(
    "path", [path for path in PAGES if blocks(path.read_text("utf-8"), "python")], ids=name_of
)
def test_code_blocks_run(path, tmp_path, monkeypatch, offline):
    """Every Python block of a page runs, one after the other, in one namespace and a new folder."""
    monkeypatch.chdir(tmp_path)
    run_examples(path)


@pytest.mark.parametrize("block", [">>> 1 + 1\n3", "assert 1 + 1 == 3", "import socket\nsocket.x"])
def test_a_wrong_example_would_be_noticed(block, tmp_path):
    """A result that differs, a failed assertion, a name that is gone."""
    path = tmp_path / "page.md"
    path.write_text(f"```python\n{block}\n```\n", "utf-8")
    with pytest.raises((AssertionError, AttributeError)):  # sybil's own failure is the former
        run_examples(path)


# Commands


def command_lines(text):
    """Every line that starts with ``$``, continuation lines joined."""
    for block in blocks(text, "console", "sh", "shell", "bash"):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if line.startswith("$ "):
                yield _first_command(shlex.split(line[2:], comments=True))


def _first_command(words):
    for position, word in enumerate(words):
        if word in ("|", "||", "&&", ";", ">", ">>", "2>"):
            return words[:position]
    return words


def parse(words):
    """Parse the arguments of asi-verify as the command line does, without running anything."""
    name, *rest = words
    if words == ["--help"]:
        return
    assert name in COMMANDS, f"there is no command {name!r}"
    if (both := " ".join(words[:2])) in NESTED:
        name, rest = both, words[2:]
    with contextlib.suppress(typer.Exit):  # what --help ends with
        {**COMMANDS, **NESTED}[name].make_context(name, list(rest))


@every_page
def test_commands_in_blocks_exist(path, capsys):
    """What a page tells the reader to type is understood: command, options and arguments."""
    for words in command_lines(path.read_text("utf-8")):
        if words[0] == "asi-verify":
            parse(words[1:])
        if words[1:3] == ["-m", "asi_verify.checker"]:
            with pytest.raises(SystemExit, match="0"):
                check_command(["--help"])
            known = capsys.readouterr().out
            assert all(word in known for word in words if word.startswith("--")), words


@every_page
def test_commands_in_sentences_exist(path):
    """A command named in running text is one."""
    text = _FENCE.sub("", path.read_text("utf-8"))
    for name in re.findall(r"`asi-verify ([a-z]+)", text):
        assert name in COMMANDS, f"there is no command {name!r}"


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["run"], ["check", "out", "--no-such-option"], ["datasets", "audit", "--out"]],
)
def test_a_wrong_command_would_be_noticed(words):
    """The parse is the real one: it refuses what the command line refuses."""
    with pytest.raises((AssertionError, WRONG_USE)):
        parse(words)


@pytest.mark.parametrize("name", [*COMMANDS, *NESTED])
def test_every_command_and_option_is_in_the_reference(name):
    """A section for each command, with each of its options and an example."""
    text = section(page("reference/cli.md"), name)
    for parameter in {**COMMANDS, **NESTED}[name].params:
        is_option = parameter.param_type_name == "option"
        shown = parameter.opts[0] if is_option else parameter.name.upper()
        assert f"`{shown}`" in text, f"{name}: {shown}"
    assert f"asi-verify {name}" in text


@pytest.mark.parametrize("code", [0, 1, 2])
def test_exit_codes_are_in_the_reference(code):
    """0, 1 and 2."""
    assert f"| {code} |" in section(page("reference/cli.md"), "Exit codes")


# Python


@pytest.mark.parametrize("name", asi.__all__)
def test_every_public_name_is_in_the_reference(name):
    """With its present signature: names, kinds and defaults of all parameters."""
    text = page("reference/python.md")
    assert f"`{name}`" in text or f"asi.{name}" in text
    thing = getattr(asi, name)
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return
    (first, *_) = blocks(section(text, name), "text")
    called, documented = written_signature(first)
    assert called == f"asi.{name}"
    actual = inspect.signature(thing)
    assert [(p.name, p.kind) for p in documented.parameters.values()] == [
        (p.name, p.kind) for p in actual.parameters.values()
    ]
    for parameter in actual.parameters.values():
        given = documented.parameters[parameter.name].default
        assert same_default(given, parameter.default), parameter


def written_signature(text):
    """The name and the signature that a call-like line shows."""
    called, _, rest = text.strip().partition("(")
    function = ast.parse(f"def f({rest}: pass").body[0]
    namespace = {"NO_PROGRESS": "NO_PROGRESS"}
    exec(compile(ast.Module([function], []), "docs", "exec"), namespace)
    return called, inspect.signature(namespace["f"])


def same_default(shown, actual):
    """Whether a default that is shown is the actual one; what has no literal is shown by name."""
    if shown == "NO_PROGRESS":
        return type(actual).__name__ == "NoProgress"
    return shown == getattr(actual, "value", actual)


def test_every_member_of_a_result_is_in_the_reference():
    """Properties, attributes and methods of what the public functions return."""
    text = page("reference/python.md")
    for kind in (asi.Guard, asi.Result, asi.Readiness, CheckResult, Verification):
        found = section(text, kind.__name__)
        members = [name for name in (*vars(kind), *kind.__annotations__) if name[0] != "_"]
        assert members
        for member in members:
            assert re.search(rf"`{member}[`(]", found), f"{kind.__name__}.{member}"


def test_every_error_class_is_in_the_reference():
    """A section for each, with when it is raised and what to do; and its place in the tree."""
    text = page("reference/errors.md")
    tree = blocks(text, "text")[0]
    for name in errors.__all__:
        found = section(text, name)
        assert "**When.**" in found, name
        assert "**What to do.**" in found, name
        depth = len(getattr(errors, name).__mro__) - len(errors.AsiVerifyError.__mro__)
        depth -= issubclass(getattr(errors, name), ValueError)  # the other base of UsageError
        assert re.search(rf"^{'    ' * depth}{name}\b", tree, re.M), f"{name} in the tree"
    assert set(re.findall(r"\w*(?:Error|Alarm)\b", tree)) - {"ValueError"} == set(errors.__all__)


# Tables and formats


@every_page
def test_tables_are_those_of_the_code(path):
    """``python docs/_tables.py`` would change nothing."""
    text = path.read_text("utf-8")
    assert tables().with_tables(text) == text, "run python docs/_tables.py"


def test_every_table_is_used():
    """Each is in exactly one page, so that nothing public is left out."""
    made = tables()
    used = [name for path in PAGES for name in made.used_tables(path.read_text("utf-8"))]
    assert sorted(used) == sorted(made.TABLES)


def test_operators_and_sets_are_all_there():
    """The tables hold what the registry and the package's facts hold."""
    assert {f"`{entry.operator}`" for entry in REGISTRY} <= set(
        re.findall(r"`\w+`", page("reference/operators.md"))
    )
    assert len(medmnist_sets()) == 18
    assert all(f"| `{name}` |" in page("reference/datasets.md") for name in medmnist_sets())


@pytest.mark.parametrize(
    ("name", "heading", "kind"),
    [
        ("reference/formats.md", "bugs.sqlite", BugKind),
        ("reference/formats.md", "bugs.sqlite", BugState),
        ("reference/formats.md", "bugs.sqlite", Category),
        ("reference/datasets.md", "Tasks", Task),
        ("explanation/soundness.md", "Semantics", Semantics),
        ("reference/formats.md", "claims.json", Semantics),
    ],
)
def test_closed_lists_are_documented_in_full(name, heading, kind):
    """Every member, by the value that stands in files."""
    found = section(page(name), heading)
    assert [member.value for member in kind if f"`{member.value}`" not in found] == []


def test_every_reason_to_be_undecided_is_explained():
    """By the words of the report, or the first of them."""
    found = section(page("explanation/soundness.md"), "Words")
    words = {
        Reason.TOO_LOOSE: "no bound was tight enough",
        Reason.TOO_LARGE: "too large for the stages that were left",
        Reason.BUDGET: "a budget was used up",
        Reason.DEADLINE: "the deadline passed",
        Reason.FAILED: "a solver broke down",
        Reason.ROUNDING_GAP: "a rounding gap",
    }
    assert set(words) == set(Reason)
    assert [text for text in words.values() if text not in found] == []


def test_every_reason_of_a_guard_is_in_the_reference():
    """By its code and its name, and in the guide by its name."""
    found, guide = section(page("reference/formats.md"), "guard/guard.onnx"), page("guide/guard.md")
    for reason in guards.Reason:
        (name,) = reason.names
        assert f"| {int(reason)} | `{name}` |" in found
        assert f"| `{name}` |" in guide


def test_deployment_switches_off_what_we_switch_off():
    """The optimisations that change constants, by their names in ONNX Runtime."""
    found = section(page("guide/your-own-model.md"), "Deployment")
    assert sorted(re.findall(r'"(\w+Fusion)"', found)) == sorted(session._CHANGE_CONSTANTS)


def schema(package, name):
    """A schema of the package."""
    return json.loads(resources.files(package).joinpath("schema", name).read_text("utf-8"))


@pytest.mark.parametrize(
    ("heading", "described"),
    [
        ("change.json", change_schema),
        ("readiness.json", readiness_schema),
        ("claims.json", lambda: schema("asi_verify.core", "claims-1.json")),
        ("Shards", lambda: schema("asi_verify.core", "certificate-1.json")),
        ("proof.json", lambda: schema("asi_verify.core", "vnnlib-1.json")),
        ("report.json", report_schema),
        ("statement.json", predicate_schema),
        ("validation.json", validation_schema),
    ],
)
def test_every_field_of_a_schema_is_documented(heading, described):
    """The fields of the outermost object, and the schema's identifier.

    All are required, but for those about classes that must never be missed where none are named.
    """
    found, value = section(page("reference/formats.md"), heading), described()
    assert [field for field in value["properties"] if f"`{field}`" not in found] == []
    # Left out where it says nothing, so that claims without it stay what they were.
    optional = {
        "claims.json": {"memorised", "never_miss"},
        "statement.json": {"never_miss"},
    }.get(heading, set())
    assert set(value["required"]) == set(value["properties"]) - optional
    assert f"`{value['$id']}`" in found


def test_every_column_of_the_bug_log_is_documented(tmp_path):
    """Tables and columns as SQLite has them."""
    SqliteBugLog(tmp_path / "bugs.sqlite").close()
    found = section(page("reference/formats.md"), "bugs.sqlite")
    with contextlib.closing(sqlite3.connect(tmp_path / "bugs.sqlite")) as connection:
        names = [r[0] for r in connection.execute("SELECT name FROM sqlite_master WHERE sql != ''")]
        assert names
        for table in names:
            assert f"`{table}`" in found
            for column in connection.execute(f"PRAGMA table_info({table})"):
                assert f"`{column[1]}`" in found, f"{table}.{column[1]}"


# Links


def links(text):
    """The targets of all links, outside of code."""
    plain = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))
    return re.findall(r"\]\(([^)\s]+)\)", plain)


def anchors(text):
    """The anchors that GitHub makes of a page's headings."""
    found, seen = set(), {}
    for heading in headings(text):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        count = seen.get(slug, 0)
        seen[slug] = count + 1
        found.add(f"{slug}-{count}" if count else slug)
    return found


@every_page
def test_links_lead_somewhere(path):
    """Relative ones to a file in the repository, and to a heading if they name one."""
    text = path.read_text("utf-8")
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            assert link.startswith("https://"), link
            continue
        place, _, anchor = link.partition("#")
        target = (path.parent / place).resolve() if place else path
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text("utf-8")), link


@every_page
def test_files_and_tests_that_are_named_exist(path):
    """A page that rests an assumption on a test names one that is there."""
    for name in re.findall(
        r"`((?:tests|benchmarks|asi_verify)/[\w/]+\.py(?:::\w+)?)`", path.read_text()
    ):
        file, _, test = name.partition("::")
        assert (ROOT / file).is_file(), name
        assert not test or f"def {test}(" in (ROOT / file).read_text("utf-8"), name


def test_the_index_names_every_page():
    """Whatever lies in docs/ is linked from docs/README.md."""
    linked = {(DOCS / link).resolve() for link in links(page("README.md"))}
    missing = [p for p in PAGES if p.is_relative_to(DOCS) and p.name != "README.md"]
    assert [name_of(path) for path in missing if path not in linked] == []


@every_page
def test_no_place_of_one_machine_is_named(path):
    """No absolute path, of any system."""
    text = path.read_text("utf-8")
    found = re.findall(r"(?<![\w.:/~}-])/(?:home|root|Users|work|tmp|mnt|opt|var|usr|data)/", text)
    assert found + re.findall(r"\b[A-Z]:\\", text) == []
