"""The tool that holds third-party files of the pages: what it finds."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).resolve().parents[2] / "tools" / "vendor.py"


@pytest.fixture
def vendor() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vendor", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_here_is_what_the_lock_says(vendor: ModuleType) -> None:
    assert list(vendor.findings(vendor.read())) == []


def test_what_differs_is_named(vendor: ModuleType) -> None:
    lock = vendor.read()
    changed, gone = lock["package"][0]["file"][:2]
    changed["sha512"] = vendor.digest(b"another")
    gone["to"] = "tokenmarket/web/static/nowhere"
    lock["icons"] += ["no-such-icon"]
    found = "\n".join(vendor.findings(lock))
    assert f"{changed['to']}:1: differs from lucide-static" in found
    assert "nowhere:1: is not there" in found
    assert "has no no-such-icon" in found
    assert "nobody draws no-such-icon" in found


def test_the_sprite_has_the_shapes_alone(vendor: ModuleType) -> None:
    icon = (
        b'<!-- @license x -->\n<svg\n  class="lucide"\n  width="24"\n>\n  <path d="M1 1" />\n</svg>'
    )
    sprite = vendor.sprite(["dot"], {"icons/dot.svg": icon}, "1.0").decode()
    assert '<symbol id="dot" viewBox="0 0 24 24"><path d="M1 1"/></symbol>' in sprite
    assert "class" not in sprite
