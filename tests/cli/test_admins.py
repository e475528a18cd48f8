"""Ways in for people, by the command line."""

import re
import time

from tests.cli.conftest import Run


def test_a_link_that_makes_an_operator(inside: Run) -> None:
    done = inside("admin", "link", "--json", TOKENMARKET_PUBLIC_BASE_URL="https://gw.example")
    assert done.code == 0
    found = done.json
    assert re.fullmatch(r"https://gw\.example/en/welcome/[\w-]{43}", found["url"])
    assert 86_000 < found["expires_at"] - time.time() <= 86_400
    again = inside("admin", "link")
    assert found["url"] not in again.out
    assert "/en/welcome/" in again.out


def test_nobodys_password_cannot_be_reset(inside: Run) -> None:
    inside("admin", "reset", "nobody@example.com").failed(3, "nobody@example.com")
