"""Who is calling: the peer, or what a trusted proxy says (``design/security.md`` N3)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def client_address(trusted: tuple[Network, ...]) -> Callable[[str, dict[bytes, bytes]], str]:
    """A function (peer, headers) -> address. ``X-Forwarded-For`` is read from the right, and only
    as far as each hop is trusted."""
    if not trusted:
        return lambda peer, headers: peer

    def address(peer: str, headers: dict[bytes, bytes]) -> str:
        forwarded = headers.get(b"x-forwarded-for")
        if forwarded is None or not _inside(peer, trusted):
            return peer
        for hop in reversed(forwarded.decode("latin-1").split(",")):
            peer = hop.strip()
            if not _inside(peer, trusted):
                break
        return peer

    return address


def _inside(text: str, networks: tuple[Network, ...]) -> bool:
    try:
        parsed = ipaddress.ip_address(text)
    except ValueError:
        return False
    return any(parsed in network for network in networks)
