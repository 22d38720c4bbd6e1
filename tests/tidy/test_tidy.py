"""The house rules, as a test. A rule that is only written down is forgotten; an exception is a line here, reviewed.

Limits are a ratchet: an entry may be removed or lowered, and a new one needs its reason in the review.
"""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
SOURCE = ROOT / "src" / "brickyard"


def tracked() -> list[Path]:
    """Every file that is or is about to be committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        pytest.fail(f"git ls-files: {listed.stderr}")
    paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]


FILES = tracked()
PYTHON = [path for path in FILES if path.suffix == ".py"]
MODULES = [path for path in PYTHON if path.is_relative_to(SOURCE)]
DOCUMENTS = [path for path in FILES if path.suffix == ".md"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def words(path: Path) -> str:
    return path.read_text(encoding="utf-8")


# words -----------------------------------------------------------------------------------------------------------

# pattern; what to say instead; where it is at home, relative to src/brickyard
# fmt: off
BANNED: tuple[tuple[str, str, set[str]], ...] = (
    (r"^\s*(import|from) subprocess\b|\bos\.(system|popen|exec|spawn|fork)\w*\(", "brick/shell.py: run()",
        {"brick/shell.py"}),
    (r"\bdatetime\.now\(|\.utcnow\(|\btime\.(time|monotonic|perf_counter)\(", "core/clock.py",
        {"core/clock.py"}),
    (r"\bSET status\b|\.values\([^)]*\bstatus=|\.status\s*=[^=]", "db/store.py: begin() and end()",
        {"db/store.py"}),
    (r"^\s*print\(", "the log, or click.echo in cli",
        set()),
    (r"\b(TODO|FIXME|XXX|HACK)\b", "an issue",
        set()),
    (r"except (Base)?Exception( as \w+)?:\s*(#.*)?\n\s*pass\b|except:\s", "the errors that are meant",
        set()),
    (r"^\s*(import|from) oslo_config\b", "ini.py",
        {"ini.py", "service/policy.py", "api/keystone.py"}),
    (r"^\s*(import|from) (sqlalchemy|alembic)\b", "a function in db/",
        {"db/"}),
    (r"\bshell=True\b", "an argument list",
        set()),
    (r"\b(eval|exec|pickle\.loads?|yaml\.load)\(", "msgspec, or a function",
        set()),
    (r"\bassert_called|\bmock\.patch\b", "the real thing, or the simulated driver",
        set()),
)
# fmt: on
EXCEPT: dict[str, set[str]] = {
    # The answer of a request, a message or a flow has a status that no table of states governs.
    r"\bSET status\b|\.values\([^)]*\bstatus=|\.status\s*=[^=]": {
        "api/app.py",
        "db/images.py",
        "db/flows.py",
        "db/attachments.py",
        "flows/engine.py",
        "flows/journal.py",
        "cli/",
    },
}  # fmt: skip


@pytest.mark.parametrize(("pattern", "instead", "home"), BANNED, ids=[instead for _, instead, _ in BANNED])
def test_banned_words_are_where_they_are_at_home(pattern: str, instead: str, home: set[str]) -> None:
    at_home = tuple(str(SOURCE / place) for place in home | EXCEPT.get(pattern, set()))
    found = []
    for path in MODULES:
        if at_home and str(path).startswith(at_home):
            continue
        text = words(path)
        for match in re.finditer(pattern, text, re.MULTILINE):
            line = text.count("\n", 0, match.end()) + 1
            found.append(f"{name(path)}:{line}: {match[0].strip()!r}: use {instead}")
    assert not found, "\n".join(found)


VAGUE = {"utils", "util", "common", "helpers", "helper", "base", "manager", "misc"}


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert not [name(path) for path in MODULES if VAGUE & {path.stem, path.parent.name}]


def test_no_class_has_a_name_that_says_nothing() -> None:
    found = [
        f"{name(path)}: {node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(words(path)))
        if isinstance(node, ast.ClassDef) and re.search(r"(Util|Helper|Manager|Base)s?$", node.name)
    ]
    assert not found


# limits ----------------------------------------------------------------------------------------------------------

FILE_LINES, FUNCTION_LINES, BLOB_BYTES, LINE_CHARACTERS = 400, 60, 256 * 1024, 120
LONGER_FILES: dict[str, int] = {}
LONGER_FUNCTIONS: dict[str, int] = {}
LARGER_FILES: dict[str, int] = {}


def test_no_module_is_longer_than_400_lines() -> None:
    long = {name(path): len(words(path).splitlines()) for path in MODULES if "migrations" not in path.parts}
    over = {file: lines for file, lines in long.items() if lines > LONGER_FILES.get(file, FILE_LINES)}
    assert not over, f"divide them by what they are about: {over}"


def test_no_function_is_longer_than_60_lines() -> None:
    over = {}
    for path in MODULES:
        if "migrations" in path.parts:
            continue
        for node in ast.walk(ast.parse(words(path))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines, where = (node.end_lineno or 0) - node.lineno + 1, f"{name(path)}:{node.name}"
                if lines > LONGER_FUNCTIONS.get(where, FUNCTION_LINES):
                    over[where] = lines
    assert not over, f"push ifs up and loops down: {over}"


def test_an_exception_that_is_no_longer_needed_is_removed() -> None:
    known = {name(path): len(words(path).splitlines()) for path in MODULES}
    assert not [file for file in LONGER_FILES if known.get(file, 0) <= FILE_LINES]


def test_no_large_file_is_committed() -> None:
    large = {name(path): path.stat().st_size for path in FILES if path.stat().st_size > BLOB_BYTES}
    assert large.keys() <= LARGER_FILES.keys(), large


# form ------------------------------------------------------------------------------------------------------------


def test_every_module_begins_by_saying_what_it_is_for() -> None:
    silent = [name(path) for path in PYTHON if words(path).strip() and not ast.get_docstring(ast.parse(words(path)))]
    assert not silent, f"add a docstring: {silent}"


def test_every_document_has_one_title() -> None:
    wrong = {}
    for path in DOCUMENTS:
        if path.is_relative_to(ROOT / "changes"):
            continue  # fragments, which are put under the title of the changelog
        text = re.sub(r"^```.*?^```", "", words(path), flags=re.MULTILINE | re.DOTALL)
        titles = re.findall(r"^# ", text, re.MULTILINE)
        if len(titles) != 1:
            wrong[name(path)] = len(titles)
    assert not wrong, wrong


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", words(path)):
            if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                broken.append(f"{name(path)}: {target}")
    assert not broken, broken


def test_files_that_documents_name_exist() -> None:
    """`src/…`, `tests/…`, `scripts/…`, `docs/…` and `deploy/…` in backticks are paths of this tree."""
    missing = []
    for path in DOCUMENTS:
        for target in re.findall(r"`((?:src|tests|scripts|docs|deploy)/[\w./-]+)`", words(path)):
            if not (ROOT / target).exists():
                missing.append(f"{name(path)}: {target}")
    assert not missing, missing


def test_text_files_end_with_a_line_and_have_no_tabs_or_trailing_spaces() -> None:
    wrong = []
    for path in FILES:
        if path.suffix not in (".py", ".md", ".toml", ".yaml", ".yml", ".in", ".lock") or path.is_symlink():
            continue
        text = words(path)
        if text and (not text.endswith("\n") or re.search(r"[ \t]+$|\t|\r", text, re.MULTILINE)):
            wrong.append(name(path))
    assert not wrong, wrong


def test_scripts_stop_at_the_first_error_and_can_be_run() -> None:
    scripts = [p for p in FILES if p.is_relative_to(ROOT / "scripts") or p.is_relative_to(ROOT / ".ci")]
    for script in scripts:
        first, *rest = words(script).splitlines() or [""]
        if first.startswith("#!") and "bash" in first:
            assert "set -euo pipefail" in rest, name(script)
            assert script.stat().st_mode & 0o111, name(script)
            assert rest[0].startswith("# "), f"{name(script)} does not say what it does"


# things that must agree ------------------------------------------------------------------------------------------


def test_the_version_is_the_one_on_top_of_the_changelog() -> None:
    version = tomllib.loads(words(ROOT / "pyproject.toml"))["project"]["version"]
    top = re.search(r"^## (\S+)", words(ROOT / "CHANGELOG.md"), re.MULTILINE)
    assert top is not None and top[1] == version


CHANGE = re.compile(r"(\d+|[a-z0-9-]+)\.(feature|fix|breaking|driver)\.md")


def test_changes_are_named_by_what_they_are() -> None:
    wrong = [
        p.name for p in FILES if p.parent == ROOT / "changes" and p.name != "README.md" and not CHANGE.fullmatch(p.name)
    ]
    assert not wrong, f"call it NNN.feature.md, .fix.md, .breaking.md or .driver.md: {wrong}"


def test_decisions_are_numbered_without_a_gap_and_say_what_would_change_our_mind() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for path in decisions:
        for part in ("## Situation", "## Options", "## Decision", "## Consequences", "## What would change our mind"):
            assert part in words(path), f"{name(path)} has no {part!r}"


def test_the_lock_has_hashes_and_no_addresses() -> None:
    for path in (path for path in FILES if path.suffix == ".lock"):
        lock = words(path)
        assert "://" not in lock, name(path)
        packages = re.findall(r"^[\w.\[\]-]+==[^\\\n]+(\\?)$", lock, re.MULTILINE)
        assert packages and all(packages), f"every package has hashes: {name(path)}"


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads(words(ROOT / "pyproject.toml"))["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(need for extra in extras for need in extra if "brickyard[" not in need)]
    locked = {
        re.sub(r"[-_.]+", "-", found).lower()
        for found in re.findall(r"^([\w.-]+)==", words(ROOT / "requirements.lock"), re.MULTILINE)
    }
    missing = [
        need for need in wanted if re.sub(r"[-_.]+", "-", re.split(r"[\s<>=!\[;~]", need)[0]).lower() not in locked
    ]
    assert not missing, f"run scripts/lock: {missing}"


USED_IF_THERE = ("dotenv", "oslo_log")  # by libraries that do well without them
IMPORT_ALL = """
import importlib, pkgutil, sys, brickyard
for found in pkgutil.walk_packages(brickyard.__path__, "brickyard."):
    if "migrations" not in found.name and found.name != "brickyard.__main__":
        importlib.import_module(found.name)
import oslo_utils.imageutils.format_inspector  # the only one that is imported late
print("\\n".join(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_what_the_service_imports_is_installed_with_it() -> None:
    """The test environment holds far more packages than a user gets by `pip install`."""
    todo = [Requirement(need) for need in tomllib.loads(words(ROOT / "pyproject.toml"))["project"]["dependencies"]]
    installed: set[str] = set()
    while todo:
        need = todo.pop()
        for extra in ("", *need.extras):
            if (key := f"{canonicalize_name(need.name)}[{extra}]") not in installed:
                installed.add(key)
                wants = map(Requirement, importlib.metadata.requires(need.name) or ())
                todo += [want for want in wants if want.marker is None or want.marker.evaluate({"extra": extra})]
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=True)
    homes = importlib.metadata.packages_distributions()
    missing = {
        module: homes[module]
        for module in done.stdout.split()
        if module in homes and not any(f"{canonicalize_name(name)}[]" in installed for name in homes[module])
    }
    for found in ("brickyard", *USED_IF_THERE):
        missing.pop(found, None)
    assert not missing, "add it to the dependencies in pyproject.toml"


# what importing costs --------------------------------------------------------------------------------------------

NOTHING = "import sys; print(*{name.partition('.')[0] for name in sys.modules})"
LOADED = "import sys, {module}; print('\\n'.join(sorted({{name.partition('.')[0] for name in sys.modules}})))"


def loaded(module: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(module=module)], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["brickyard.core.states", "brickyard.brick", "brickyard.brick.registry"])
def test_the_storage_library_imports_nothing_from_outside(module: str) -> None:
    nothing = subprocess.run([sys.executable, "-c", NOTHING], capture_output=True, text=True, check=True)
    before = set(nothing.stdout.split())
    assert loaded(module) - before - set(sys.stdlib_module_names) == {"brickyard"}


def test_the_command_line_does_not_pay_for_the_service() -> None:
    assert not loaded("brickyard.cli.main") & {
        "sqlalchemy",
        "falcon",
        "granian",
        "oslo_config",
        "oslo_policy",
        "alembic",
    }
