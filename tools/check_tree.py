"""Checks the rules of this repository that no off-the-shelf linter knows; `make check` runs it.

Each rule is a function that yields one line per finding, `path:line: what is wrong and what to do`.
Files are those that git tracks or would track, so the answer is the same before and after a commit.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tokenmarket"

LINES_MAX = 500
VAGUE_NAMES = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}

# Code names packages, never where they come from: the place is the installer's choice.
# The brackets keep this file from finding itself.
REGISTRY_HOSTS = re.compile(
    rb"py[p]i\.org|python[h]osted\.org|np[m]js\.(org|com)|crates[.]io|proxy\.go[l]ang\.org"
    rb"|repo1?\.mav[e]n|deb\.deb[i]an\.org|security\.deb[i]an\.org|pkg\.go[.]dev"
)

# Without PRAGMA: SQLite takes no bound parameters there, and its values come from our own code.
SQL = re.compile(
    r"^\s*(select\b.*\bfrom\b|insert\s+(or\s+\w+\s+)?into\b|update\s+\S+\s+set\b|delete\s+from\b"
    r"|(create|alter|drop)\s+(unique\s+|temp\s+)?(table|index|view|trigger|schema|role)\b"
    r"|with\s+\w+\s+as\s*\(|truncate\s+table\b|(grant|revoke)\s+\w+\s+on\b)",
    re.IGNORECASE | re.DOTALL,
)
SQL_CALLS = {"text", "execute", "executemany", "executescript", "exec_driver_sql"}

# Handed time and ids, they decide; see ARCHITECTURE.md. Imports of the standard library are held
# by import-linter; these are the rules that it cannot express.
PURE = ("core", "adapters")
PURE_LIBRARIES = {"tokenmarket", "msgspec", "cryptography", "python_multipart"}
CLOCK_METHODS = {"now", "utcnow", "today"}
ENVIRONMENT_READERS = {"tokenmarket/config.py"}

# Who may open connections to the outside. A URL that a stranger wrote is followed in one place.
HTTP_CLIENTS = (
    "aiohttp",
    "ftplib",
    "http.client",
    "httpx",
    "requests",
    "urllib.request",
    "urllib3",
)
CONNECTING = {
    "create_connection": {"tokenmarket/upstream/dial.py"},
    "open_connection": set[str](),
    "Dialer": {"tokenmarket/upstream/client.py"},
    "Resolver": {"tokenmarket/upstream/fetch.py"},
    # The gateway's own client and the guarded one; `provider test` asks the operator's base URL.
    "UpstreamClient": {
        "tokenmarket/app.py",
        "tokenmarket/cli/providers.py",
        "tokenmarket/upstream/fetch.py",
    },
}
# Alembic runs these files itself, they are not imported.
NOT_IMPORTED = ("tokenmarket/store/migrations/", "tokenmarket/__main__.py")

# Code that Python runs at every start of the environment. setuptools' own is known and pinned.
PTH_WITH_CODE_ALLOWED = {"distutils-precedence.pth"}


def tree() -> list[Path]:
    """Returns all files of the repository, without what .gitignore names."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listing.returncode == 0:
        names = listing.stdout.decode().split("\0")
        return sorted({ROOT / name for name in names if name and (ROOT / name).is_file()})
    # An unpacked archive: no git, so leave out what the Makefile and Python make.
    made = {".venv", ".git", "__pycache__", "node_modules", ".ruff_cache", ".pytest_cache"}
    return sorted(
        path
        for path in ROOT.rglob("*")
        if path.is_file() and not made.intersection(path.relative_to(ROOT).parts)
    )


def name_of(path: Path) -> str:
    """Returns the path as a reader of the repository writes it."""
    return path.relative_to(ROOT).as_posix()


def registry_hosts(files: list[Path]) -> Iterator[str]:
    """Finds package registries named by host, in any file."""
    for path in files:
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            if REGISTRY_HOSTS.search(line):
                yield f"{name_of(path)}:{number}: names a package registry's host; name the package"


def shape(path: Path, source: str, module: ast.Module) -> Iterator[str]:
    """Finds long files, and in the package vague names, missing docstrings and `__init__.py`."""
    lines = source.count("\n")
    if lines > LINES_MAX:
        yield f"{name_of(path)}:1: {lines} lines, at most {LINES_MAX}; split it by meaning"
    if not path.is_relative_to(PACKAGE):
        return
    for part in path.relative_to(PACKAGE).with_suffix("").parts:
        if part in VAGUE_NAMES:
            yield f"{name_of(path)}:1: '{part}' says nothing; name it after what it does"
    if not (ast.get_docstring(module) or "").strip():
        yield f"{name_of(path)}:1: no module docstring; say in one sentence what the module is"
    imported = not name_of(path).startswith(NOT_IMPORTED)
    if imported and not (path.parent / "__init__.py").exists():
        yield f"{name_of(path)}:1: its folder has no __init__.py: neither shipped nor checked"


def is_sql(node: ast.expr) -> bool:
    """Says whether the constant parts of a string expression begin like an SQL statement."""
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and SQL.match(node.value) is not None
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "x" for part in node.values)
        return SQL.match("".join(str(part) for part in parts)) is not None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return is_sql(node.left) or is_sql(node.right)
    return False


def is_composed(node: ast.expr) -> bool:
    """Says whether a string is put together from values at run time."""
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(part, ast.FormattedValue) for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod | ast.Add):
        return any(
            isinstance(side, ast.JoinedStr)
            or (isinstance(side, ast.Constant) and isinstance(side.value, str))
            or is_composed(side)
            for side in (node.left, node.right)
        )
    return formatted(node) is not None


def formatted(node: ast.AST) -> ast.Constant | None:
    """Returns the text of `'…'.format(…)`, None for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        text = node.func.value
        if node.func.attr == "format" and isinstance(text, ast.Constant):
            return text
    return None


def composes_sql(node: ast.AST) -> bool:
    """Says whether this expression makes SQL by f-string, `%`, `+` or format, or runs one."""
    match node:
        case ast.JoinedStr():
            return is_composed(node) and is_sql(node)
        case ast.BinOp(op=ast.Mod()):
            return is_sql(node.left)
        case ast.BinOp(op=ast.Add()):
            return is_sql(node)
        case ast.Call(func=ast.Attribute(attr=called) | ast.Name(id=called)):
            text = formatted(node)
            runs = called in SQL_CALLS and bool(node.args) and is_composed(node.args[0])
            return runs or (text is not None and is_sql(text))
        case _:
            return False


def composed_sql(path: Path, module: ast.Module) -> Iterator[str]:
    """Finds SQL built from strings; statements take parameters, the store has SQLAlchemy Core."""
    numbers = {getattr(node, "lineno", 1) for node in ast.walk(module) if composes_sql(node)}
    for number in sorted(numbers):
        yield f"{name_of(path)}:{number}: SQL put together from strings; use bound parameters"


def impurity(path: Path, module: ast.Module) -> Iterator[str]:
    """Finds clocks, files, foreign libraries in the pure packages; environment reads anywhere."""
    pure = path.relative_to(PACKAGE).parts[0] in PURE
    for node in ast.walk(module):
        where = f"{name_of(path)}:{getattr(node, 'lineno', 1)}:"
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}:
            if name_of(path) not in ENVIRONMENT_READERS:
                yield f"{where} reads the environment; only tokenmarket/config.py does that"
        elif not pure:
            continue
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in CLOCK_METHODS:
                yield f"{where} .{node.func.attr}() looks at a clock; take the time as a parameter"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            if node.func.id in {"open", "input", "print", "exec", "eval", "__import__"}:
                yield f"{where} {node.func.id}() in a pure package"
        elif isinstance(node, ast.Import | ast.ImportFrom):
            named = [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                # `from urllib import request` names urllib.request.
                named = [f"{node.module or ''}.{name}" for name in named] if node.level == 0 else []
            for name in named:
                top = name.split(".")[0]
                foreign = top not in sys.stdlib_module_names and top not in PURE_LIBRARIES
                if foreign or name.startswith("urllib.request"):
                    yield f"{where} imports {name} in a pure package"


def connections(path: Path, module: ast.Module) -> Iterator[str]:
    """Finds other HTTP clients, and connections opened elsewhere than in their one place."""
    for node in ast.walk(module):
        where = f"{name_of(path)}:{getattr(node, 'lineno', 1)}:"
        if isinstance(node, ast.Import | ast.ImportFrom):
            above = f"{node.module}." if isinstance(node, ast.ImportFrom) and node.module else ""
            for name in (above + alias.name for alias in node.names):
                if any(name == client or name.startswith(f"{client}.") for client in HTTP_CLIENTS):
                    yield f"{where} imports {name}; a URL is followed by upstream/fetch.py only"
        elif isinstance(node, ast.Call):
            called = node.func
            name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
            if name in CONNECTING and name_of(path) not in CONNECTING[name]:
                yield f"{where} {name}() here; a URL is followed by upstream/fetch.py only"


# Runs in a child of its own: an audit hook cannot be taken away again.
IMPORT_ALL = """
import importlib, os, sys
sys.dont_write_bytecode = True
sys.path.insert(0, sys.argv[1])
FORBIDDEN = (
    "socket.", "subprocess.", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system",
    "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.putenv", "os.unsetenv",
    "shutil.", "tempfile.", "sqlite3.connect", "signal.pthread_kill", "webbrowser.open",
    "_thread.start_new_thread",  # Python 3.12 and later
)
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC

def watch(event, arguments):
    if event == "open":
        path, mode, flags = arguments
        if flags & WRITES and path != os.devnull:
            raise RuntimeError(f"opens {path!r} for writing while it is imported")
    elif event.startswith(FORBIDDEN):
        raise RuntimeError(f"{event}{arguments!r:.200} while it is imported")

sys.addaudithook(watch)
failed = False
for name in sys.argv[2:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed = True
        print(f"{name}: cannot be imported without side effects: {type(error).__name__}: {error}")
sys.exit(failed)
"""


def import_side_effects(files: list[Path]) -> Iterator[str]:
    """Imports every module where sockets, processes and file writes are forbidden."""
    names: list[str] = []
    for path in files:
        if path.suffix != ".py" or not path.is_relative_to(PACKAGE):
            continue
        if not name_of(path).startswith(NOT_IMPORTED):
            parts = path.relative_to(ROOT).with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    child = subprocess.run(
        [sys.executable, "-I", "-W", "error", "-c", IMPORT_ALL, str(ROOT), *names],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    # What a module prints while it is imported is a side effect too.
    yield from filter(str.strip, child.stdout.splitlines())
    if child.returncode != 0 and not child.stdout.strip():
        yield f"importing the package failed: {child.stderr.strip()[-500:]}"


def start_hooks() -> Iterator[str]:
    """Finds code that a package made Python run at every start: the usual place to hide malware."""
    for site in sorted(Path(sys.prefix).glob("lib/python3*/site-packages")):
        for path in sorted(site.glob("*.pth")):
            code = [line for line in path.read_text().splitlines() if re.match(r"import\s", line)]
            if code and path.name not in PTH_WITH_CODE_ALLOWED:
                yield f"{path}: runs code at every start of Python; which package brought it?"
        for name in ("sitecustomize", "usercustomize"):
            for path in [*site.glob(f"{name}.py"), *site.glob(f"{name}/")]:
                yield f"{path}: runs at every start of Python; which package brought it?"


def findings() -> Iterator[str]:
    """Yields what every rule finds, in the order of the rules."""
    files = tree()
    yield from registry_hosts(files)
    for path in files:
        if path.suffix != ".py":
            continue
        source = path.read_text(encoding="utf-8")
        try:
            module = ast.parse(source, filename=name_of(path))
        except SyntaxError as error:
            yield f"{name_of(path)}:{error.lineno}: {error.msg}"
            continue
        yield from shape(path, source, module)
        if path.is_relative_to(PACKAGE):
            yield from composed_sql(path, module)
            yield from impurity(path, module)
            yield from connections(path, module)
    yield from import_side_effects(files)
    yield from start_hooks()


def main() -> int:
    """Prints the findings; 1 if there are any."""
    found = list(findings())
    for line in found:
        print(line)
    print(f"tree: {len(found)} findings" if found else "tree: all rules hold")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
