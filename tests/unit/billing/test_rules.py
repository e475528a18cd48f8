"""Rules of the source: integers only, nothing awaited between check and deduction, SQL in store."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import tokenmarket

PACKAGE = Path(tokenmarket.__file__).parent
MONEY = [*PACKAGE.glob("billing/*.py"), *PACKAGE.glob("ledger/*.py")]
MONEY += [*PACKAGE.glob("store/money*.py"), *PACKAGE.glob("store/task*.py")]
MONEY += [PACKAGE / "core" / "money.py"]
MONEY += [PACKAGE / "core" / "pricing.py"]


def floats(source: str) -> list[str]:
    """What could bring a fraction into money. Times in seconds (names ending in _s) may."""
    tree = ast.parse(source)
    allowed: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            target = node.targets[0]
            if isinstance(target, ast.Name) and target.id.lower().endswith("_s"):
                allowed.add(node.value)
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            found.append(f"{node.lineno}: /")
        elif isinstance(node, ast.Name) and node.id in ("float", "round", "Decimal", "Fraction"):
            found.append(f"{node.lineno}: {node.id}")
        elif (
            isinstance(node, ast.Constant) and isinstance(node.value, float) and node not in allowed
        ):
            found.append(f"{node.lineno}: {node.value}")
    return found


@pytest.mark.parametrize("path", MONEY, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_no_fractions_in_money(path: Path) -> None:
    assert floats(path.read_text()) == []


@pytest.mark.parametrize(
    "source",
    ["a = b / c", "a /= 2", "round(x)", "a = 0.5", "float(a)", "from x import y; Decimal(1)"],
)
def test_the_rule_sees_fractions(source: str) -> None:
    assert floats(source)


def test_the_till_never_waits() -> None:
    tree = ast.parse((PACKAGE / "billing" / "till.py").read_text())
    waits = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Yield, ast.YieldFrom)
    assert not [node for node in ast.walk(tree) if isinstance(node, waits)]
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert {"try_hold", "settle", "void", "progress", "record"} <= names


def test_only_the_store_speaks_sql() -> None:
    for path in MONEY:
        if path.parent.name == "store":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            assert not any(n.startswith(("sqlalchemy", "sqlite3", "aiosqlite")) for n in imported)
            if isinstance(node, ast.Attribute):
                assert node.attr not in ("execute", "exec_driver_sql"), f"{path}:{node.lineno}"


def test_balances_and_leases_change_only_where_it_is_expected() -> None:
    """Every UPDATE of account, lease and spend_window is in this list."""
    allowed = {
        ("money_moves.py", "_acquire_balance", "account"),
        ("money_moves.py", "_grow_lease", "lease"),
        ("money_moves.py", "_acquire_window", "spend_window"),
        ("money_moves.py", "_open_window", "spend_window"),
        ("money_moves.py", "return_part", "account"),
        ("money_moves.py", "return_part", "spend_window"),
        ("money_moves.py", "return_part", "lease"),
        ("money_holds.py", "take", "lease"),
        ("money_holds.py", "_end_part", "account"),
        ("money_holds.py", "_end_part", "spend_window"),
        ("money_posting.py", "", "account"),
        ("money_posting.py", "", "lease"),
        ("money_posting.py", "", "spend_window"),
        ("money_ledger.py", "move", "account"),
        ("money_ledger.py", "reopen_until", "account"),
    }
    found: set[tuple[str, str, str]] = set()
    for path in (PACKAGE / "store").glob("*.py"):
        tree = ast.parse(path.read_text())
        for top in tree.body:
            owner = top.name if isinstance(top, ast.FunctionDef | ast.AsyncFunctionDef) else ""
            for node in ast.walk(top):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Name)
                    and node.func.id in ("update", "delete")
                    and isinstance(node.args[0], ast.Name)
                    and node.args[0].id in ("account", "lease", "spend_window", "transfer")
                ):
                    found.add((path.name, owner, node.args[0].id))
    assert found == allowed
