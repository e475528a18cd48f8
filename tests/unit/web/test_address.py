"""X-Forwarded-For counts only as far as it is trusted, read from the right."""

from __future__ import annotations

import ipaddress

import pytest

from tokenmarket.web.address import client_address

TRUSTED = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", b"1.2.3.4", "192.0.2.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", b"1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", b"6.6.6.6, 1.2.3.4", "1.2.3.4"),
        ("10.0.0.1", b"6.6.6.6, 1.2.3.4, 10.0.0.2", "1.2.3.4"),
        ("10.0.0.1", b"10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("fd00::1", b"2001:db8::5", "2001:db8::5"),
    ],
)
def test_the_address(peer: str, forwarded: bytes | None, found: str) -> None:
    headers = {} if forwarded is None else {b"x-forwarded-for": forwarded}
    assert client_address(TRUSTED)(peer, headers) == found


def test_nobody_is_trusted_by_default() -> None:
    assert client_address(())("10.0.0.1", {b"x-forwarded-for": b"1.2.3.4"}) == "10.0.0.1"


@pytest.mark.parametrize("text", [b"", b"garbage", b"1.2.3.4\x00", b"\xff", b", ,"])
def test_garbage_is_never_inside_a_trusted_network(text: bytes) -> None:
    found = client_address(TRUSTED)("10.0.0.1", {b"x-forwarded-for": text})
    try:
        assert not any(ipaddress.ip_address(found) in network for network in TRUSTED)
    except ValueError:
        pass  # no address at all: nothing that an allow-list could match
