"""docs/howto/add-a-driver.md is followed to the letter: its driver, its rows and its contract test work as printed."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "howto" / "add-a-driver.md").read_text()
ID = "0c1a4a5e-9a08-4c43-9cb5-ee24e4a2a2a1"


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources and of the contract tests, with the four files changed as the page says."""
    copy = tmp_path_factory.mktemp("tree")
    skip = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", copy / "src", ignore=skip)
    shutil.copytree(ROOT / "tests" / "contract", copy / "tests" / "contract", ignore=skip)
    shutil.copytree(ROOT / "tests" / "config", copy / "tests" / "config", ignore=skip)
    shutil.copytree(ROOT / "deploy", copy / "deploy", ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", copy)
    driver, function, row, options, test = blocks()
    (copy / "src" / "brickyard" / "brick" / "folder.py").write_text(driver)
    registry = copy / "src" / "brickyard" / "brick" / "registry.py"
    text = registry.read_text()
    text = re.sub(
        r"from brickyard\.brick import (?!.*\bfolder\b)", "from brickyard.brick import folder, ", text, count=1
    )
    text = text.replace("DRIVERS: dict[", f"{function}\n\nDRIVERS: dict[", 1)
    registry.write_text(text.replace('    "raw": _raw,\n', f'    "raw": _raw,\n{row}', 1))
    table = copy / "src" / "brickyard" / "options.py"
    table.write_text(table.read_text().replace('    "raw": (PATH,', f'{options}    "raw": (PATH,', 1))
    (copy / "tests" / "contract" / "test_folder.py").write_text(test)
    return copy


def run(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tree, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_driver_of_the_page_keeps_the_contract(tree: Path) -> None:
    pytest_ = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rs")
    done = run(tree, *pytest_, "tests/contract/test_folder.py")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "does not offer snapshots" in done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 20  # type: ignore[index]
    done = run(tree, *pytest_, "tests/config", "-k", "table_has_the_options and folder")
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_commands_of_the_page_work(tree: Path, tmp_path: Path) -> None:
    pool = ("-m", "brickyard", "brick", "--driver", "folder", "--path", str(tmp_path / "folders"))
    for words, part in (
        (("create", "--size", "1", "--id", ID), "created"),
        (("create", "--size", "1", "--id", ID), "nothing was left to do"),
        (("list",), f"volume-{ID}"),
        (("audit",), "in order"),
        (("delete", ID), "deleted"),
    ):
        done = run(tree, sys.executable, *pool, *words)
        assert (done.returncode, part in done.stdout) == (0, True), done.stdout + done.stderr


def test_the_driver_of_the_page_is_in_the_style_of_the_house(tree: Path) -> None:
    file = tree / "src" / "brickyard" / "brick" / "folder.py"
    ast.parse(file.read_text())
    ruff = str(Path(sys.executable).parent / "ruff")
    for command in (("check",), ("format", "--check")):
        done = run(tree, ruff, *command, "--no-cache", str(file), str(tree / "tests" / "contract" / "test_folder.py"))
        assert done.returncode == 0, done.stdout + done.stderr
    done = run(tree, sys.executable, "-m", "mypy", "--no-incremental", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
