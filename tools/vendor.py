"""Holds the few third-party files of the pages to what was taken from their published packages.

`vendor.lock` names each package with its version and the digest of its archive, and each file with
its own digest. `check` (part of `make check`) needs nothing but the files here. `fetch` takes the
locked versions again, which is also how an icon is added: name it under `icons`, then fetch.
`upgrade` moves a package to another version first. These two run npm, which nothing else needs.
"""

import argparse
import base64
import hashlib
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "tokenmarket" / "web" / "static" / "vendor.lock"
SPRITE = "tokenmarket/web/static/icons.svg"
DRAWS_ICONS = "tokenmarket/web"
NAME = re.compile(r"""["']([a-z0-9-]+)["']""")  # macros take the names of icons too
ICON_USED = re.compile(r"""\bicon(?:_name)?\s*(?:\(|=)\s*["']([a-z0-9-]+)["']""")
HEAD = """\
# Third-party files of the pages; written by tools/vendor.py, which says how to change it.
# `archive` is the digest of the published package, `sha512` that of a file here.
"""

Lock = dict[str, Any]


def read() -> Lock:
    """Returns what the lock says."""
    return tomllib.loads(LOCK.read_text(encoding="utf-8"))


def digest(body: bytes) -> str:
    """Returns the digest in the form that npm prints."""
    return "sha512-" + base64.b64encode(hashlib.sha512(body).digest()).decode()


def findings(lock: Lock) -> Iterator[str]:
    """Finds files that are not what the lock says, and icons that are drawn but not there."""
    for package in lock["package"]:
        for file in package["file"]:
            path = ROOT / file["to"]
            if not path.is_file():
                yield f"{file['to']}:1: is not there; run tools/vendor.py fetch"
            elif digest(path.read_bytes()) != file["sha512"]:
                yield f"{file['to']}:1: differs from {package['name']} {package['version']}"
    there = set(re.findall(r'<symbol id="([^"]+)"', (ROOT / SPRITE).read_text(encoding="utf-8")))
    for name in sorted(set(lock["icons"]) - there):
        yield f"{SPRITE}:1: has no {name}; run tools/vendor.py fetch"
    named: set[str] = set()
    for path in sorted((ROOT / DRAWS_ICONS).rglob("*")):
        if path.suffix in {".html", ".py"}:
            text = path.read_text(encoding="utf-8")
            named.update(NAME.findall(text))
            for name in set(ICON_USED.findall(text)) - there:
                yield f"{path.relative_to(ROOT)}:1: draws the icon {name}, add it to the lock"
    for name in sorted(set(lock["icons"]) - named):
        yield f"{SPRITE}:1: nobody draws {name}; take it out of the lock"


def fetched(name: str, version: str, folder: Path) -> tuple[bytes, dict[str, bytes]]:
    """Returns the archive of a package and the files in it."""
    command = ["npm", "pack", "--silent", f"{name}@{version}"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    (archive,) = folder.glob("*.tgz")
    body = archive.read_bytes()
    files: dict[str, bytes] = {}
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            content = packed.extractfile(member) if member.isfile() else None
            if content is not None:
                files[member.name.removeprefix("package/")] = content.read()
    return body, files


def sprite(names: list[str], files: dict[str, bytes], version: str) -> bytes:
    """Returns one SVG with a symbol for each icon."""
    symbols: list[str] = []
    for name in names:
        source = files[f"icons/{name}.svg"].decode()
        inner = source[source.index(">", source.index("<svg")) + 1 : source.rindex("</svg>")]
        shapes = "".join(line.strip() for line in inner.splitlines()).replace(" />", "/>")
        symbols.append(f'<symbol id="{name}" viewBox="0 0 24 24">{shapes}</symbol>\n')
    head = f"<!-- Icons of lucide-static {version}, licence: icons.LICENSE -->\n"
    return f'{head}<svg xmlns="http://www.w3.org/2000/svg">\n{"".join(symbols)}</svg>\n'.encode()


def fetch(lock: Lock, *, moved: str = "") -> None:
    """Takes every file anew. An archive that changed under its version stops it."""
    for package in lock["package"]:
        with tempfile.TemporaryDirectory() as folder:
            archive, files = fetched(package["name"], package["version"], Path(folder))
        if package["name"] == moved or not package["archive"]:
            package["archive"] = digest(archive)
        if digest(archive) != package["archive"]:
            sys.exit(f"{package['name']} {package['version']}: another archive than the lock's")
        for file in package["file"]:
            if file["from"] == "icons":
                body = sprite(lock["icons"], files, package["version"])
            else:
                body = files[file["from"]]
            path = ROOT / file["to"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(body)
            file["sha512"] = digest(body)
    write(lock)


def write(lock: Lock) -> None:
    """Writes the lock; its form is fixed, so that a diff shows only what changed."""
    lines = [HEAD, "icons = ["]
    lines += [f'  "{name}",' for name in sorted(set(lock["icons"]))]
    lines.append("]")
    for package in lock["package"]:
        lines += ["", "[[package]]"]
        lines += [f'{key} = "{package[key]}"' for key in ("name", "version", "licence", "archive")]
        for file in package["file"]:
            lines.append("[[package.file]]")
            lines += [f'{key} = "{file[key]}"' for key in ("from", "to", "sha512")]
    LOCK.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> int:
    """Prints the findings; 1 if there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    words = parser.add_subparsers(dest="word", required=True)
    words.add_parser("check", help="compare the files with the lock")
    words.add_parser("fetch", help="take the locked versions again")
    upgrade = words.add_parser("upgrade", help="move a package to a version")
    upgrade.add_argument("name")
    upgrade.add_argument("version")
    arguments = parser.parse_args()
    lock = read()
    lock["icons"] = sorted(set(lock["icons"]))
    if arguments.word == "upgrade":
        found = [package for package in lock["package"] if package["name"] == arguments.name]
        if not found:
            sys.exit(f"{arguments.name} is not in the lock")
        found[0]["version"] = arguments.version
        fetch(lock, moved=arguments.name)
    elif arguments.word == "fetch":
        fetch(lock)
    found = list(findings(lock))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
