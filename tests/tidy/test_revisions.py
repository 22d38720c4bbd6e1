"""A revision that says it only adds takes nothing away, renames nothing and asks nothing more of what is there."""

from __future__ import annotations

import ast
from importlib import resources

import pytest

VERSIONS = resources.files("brickyard.db") / "migrations" / "versions"
REVISIONS = sorted(file.name for file in VERSIONS.iterdir() if file.name.endswith(".py"))
ADDS = {"create_table", "create_index", "add_column", "batch_alter_table", "f", "bulk_insert"}
SHAPE = """
revision, down_revision = "0002", "0001"
phase = "expand"
def upgrade():
    {}
"""


def complaints(source: str) -> list[str]:
    """What is wrong with the source of a revision after the first."""
    tree = ast.parse(source)
    phases = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "phase"
    ]
    if phases not in (["expand"], ["contract"]):
        return ['say phase = "expand", or "contract" for what no release in use needs any more']
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    new = {ast.unparse(call.args[0]) for call in calls if ast.unparse(call.func) == "op.create_table"}
    return [why for call in calls if (why := _complaint(call, new))] if phases == ["expand"] else []


def _complaint(call: ast.Call, new: set[str]) -> str:
    assert isinstance(call.func, ast.Attribute)
    whose, name = ast.unparse(call.func.value), call.func.attr
    named = {one.arg: ast.unparse(one.value) for one in call.keywords}
    if whose not in ("op", "batch_op"):
        return ""
    if name not in ADDS:
        return f"line {call.lineno}: {name} is no addition: it belongs into a revision of phase contract"
    if name == "create_index" and named.get("unique") == "True" and not new & {ast.unparse(arg) for arg in call.args}:
        return f"line {call.lineno}: a unique index refuses rows that the release before writes"
    if name == "add_column":
        column = next(node for node in call.args if isinstance(node, ast.Call))
        given = {one.arg: ast.unparse(one.value) for one in column.keywords}
        if given.get("nullable") == "False" and "server_default" not in given:
            return f"line {call.lineno}: a column without a default refuses rows that the release before writes"
        if any("ForeignKey" in ast.unparse(arg) for arg in column.args) and given.get("nullable") == "False":
            return f"line {call.lineno}: a column that must refer to another row cannot have a default"
    return ""


@pytest.mark.parametrize("name", [name for name in REVISIONS if not name.startswith("0001")] or [None])
def test_a_revision_keeps_its_word(name: str | None) -> None:
    if name is not None:
        assert complaints((VERSIONS / name).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "line",
    [
        "op.drop_table('volumes')",
        "op.drop_column('volumes', 'name')",
        "op.rename_table('volumes', 'disks')",
        "op.execute('DELETE FROM volumes')",
        "op.alter_column('volumes', 'name', nullable=False)",
        "op.create_unique_constraint('one', 'volumes', ['name'])",
        "op.create_index('ix', 'volumes', ['name'], unique=True)",
        "op.add_column('volumes', sa.Column('more', sa.Text(), nullable=False))",
        "with op.batch_alter_table('volumes') as batch_op: batch_op.alter_column('name', new_column_name='title')",
    ],
)
def test_what_is_no_addition_is_seen(line: str) -> None:
    assert complaints(SHAPE.format(line)), line
    assert complaints(SHAPE.format(line).replace('"expand"', '"contract"')) == []
    assert complaints(SHAPE.format(line).replace('phase = "expand"', ""))


def test_what_only_adds_is_fine() -> None:
    lines = (
        "op.create_table('more', sa.Column('id', sa.Text(), primary_key=True), sa.UniqueConstraint('id'))",
        "op.add_column('volumes', sa.Column('more', sa.Text(), nullable=True))",
        "op.add_column('volumes', sa.Column('number', sa.Integer(), nullable=False, server_default='0'))",
        "op.create_index(op.f('ix_volumes_more'), 'volumes', ['more'])",
    )
    assert [complaints(SHAPE.format(line)) for line in lines] == [[]] * 4
