"""docs/brick.md does what it says, in Python and on the command line."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "brick.md").read_text()


def test_the_ten_lines_work_with_the_standard_library_alone(tmp_path: Path) -> None:
    [example] = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert len([line for line in example.splitlines() if line]) <= 10
    source = Path(__file__).parents[2] / "src"
    script = f"import sys; sys.path.insert(0, {str(source)!r})\n{example.replace('/srv', str(tmp_path))}\n"
    script += "print(connection.size_bytes == 10 * brick.GIB, [f.label for f in found] == [snapshot, volume])"
    for _ in range(2):  # as the page says, it may be repeated
        done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout) == (0, "True True\n"), done.stderr


def test_the_commands_work(tmp_path: Path) -> None:
    [commands] = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    for line in commands.splitlines():
        words = shlex.split(line.replace("/srv", str(tmp_path)))[1:]
        done = subprocess.run([sys.executable, "-m", "brickyard", *words], capture_output=True, text=True, check=False)
        verb, snapshots = words[5], list((tmp_path / "bricks").glob("_snapshot-*"))
        assert done.returncode == 0, done.stdout + done.stderr
        assert bool(snapshots) == (verb != "create")
