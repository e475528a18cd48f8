"""Which addresses a URL from outside may lead to, and which hosts a provider's key may be sent to.

A reader must know:

* ``ipaddress.is_global`` is not used. On Python 3.11 it says True for NAT64 and 6to4 forms of
  127.0.0.1, for site-local and for multicast (``design/security.md`` F3, measured), so the rule is
  written out: what IANA gave to the public internet, minus every special registry.
* An IPv4 address inside an IPv6 one (mapped; NAT64's well-known prefix, which hosts without IPv4
  need) is judged as the IPv4 address it leads to. The other translated forms (6to4, Teredo,
  NAT64 prefixes of a site, IPv4-compatible) are refused whatever they contain: nobody publishes
  files there, and where the inner address sits differs by site.
* The text is an address or it is refused: no names, no ``0177.0.0.1``, no zone (``fe80::1%eth0``).
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

# https://www.iana.org/assignments/iana-ipv4-special-registry and RFC 6890, 2026-11.
_SPECIAL_4: Final = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this host": Linux connects to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT; Alibaba's metadata service is 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # in no registry: Azure's own services, reachable from every machine
        "169.254.0.0/16",  # link-local; the metadata services of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",  # with 255.255.255.255
    )
)
_PUBLIC_6: Final = IPv6Network("2000::/3")
_SPECIAL_6: Final = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo, benchmarks, ORCHID, and what else the IETF reserves
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",
        "3fff::/20",
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


def public(address: str) -> bool:
    """Whether this address, IPv4 or IPv6 as text, belongs to the public internet."""
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return _public_4(found)
    if found.scope_id is not None:
        return False
    inner = found.ipv4_mapped
    if inner is None and found in _NAT64:
        inner = IPv4Address(found.packed[12:])
    return _public_6(found) if inner is None else _public_4(inner)


def _public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in _SPECIAL_4)


def _public_6(address: IPv6Address) -> bool:
    return address in _PUBLIC_6 and not any(address in network for network in _SPECIAL_6)


# ------------------------------------------------------------------------- where a key may be sent

_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]{2,45}\]|[a-z0-9._-]{1,253})(?::(\d{1,5}))?(?:[/?][!-~]*)?",
    re.ASCII | re.IGNORECASE,
)
_PORTS: Final = {"http": 80, "https": 443}
# Below these anybody can have a name, so being neighbours there says nothing.
_SHARED: Final = frozenset(
    [
        "aliyuncs.com",
        "amazonaws.com",
        "amazonaws.com.cn",
        "appspot.com",
        "azure.com",
        "azure.net",
        "azurewebsites.net",
        "bytepluses.com",
        "cloudapp.net",
        "cloudfront.net",
        "deno.dev",
        "duckdns.org",
        "fly.dev",
        "github.io",
        "googleapis.com",
        "googleusercontent.com",
        "herokuapp.com",
        "hf.space",
        "modal.run",
        "myqcloud.com",
        "netlify.app",
        "ngrok.app",
        "ngrok.io",
        "ngrok-free.app",
        "on.aws",
        "onrender.com",
        "pages.dev",
        "r2.dev",
        "railway.app",
        "run.app",
        "runpod.net",
        "trycloudflare.com",
        "ts.net",
        "vercel.app",
        "volces.com",
        "web.app",
        "windows.net",
        "workers.dev",
    ]
)
_AGENT_RUNTIME = re.compile(r"\Abedrock-agent-runtime(?=(-fips)?\.[a-z0-9-]+\.amazonaws\.com\Z)")
_SECOND_LEVEL: Final = frozenset({"ac", "co", "com", "edu", "gov", "net", "org"})


class _Place:
    """Scheme, host and port of a URL."""

    __slots__ = ("host", "port", "scheme")

    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port


def endpoint(url: str) -> str:
    """``host:port`` of a URL, the port always written: how an allowed origin is named.

    "https://api.x.ai/v1" -> "api.x.ai:443". Raises ValueError for anything but http and https.
    """
    place = _place(url)
    if place is None:
        raise ValueError("not an http or https URL with a plain host")
    return f"{place.host}:{place.port}"


def same_site(base_url: str, url: str) -> bool:
    """Whether a key that belongs to ``base_url`` may be sent to ``url``, which a provider named.

    The same host and port always; otherwise a host under the same registrable parent (the last
    two labels: ``queue.fal.run`` and ``fal.run``), on the same port and with the same scheme.
    Addresses, single labels and hosts below a suffix that everybody shares have only themselves
    (and Bedrock's two runtimes of one region each other).
    """
    base, other = _place(base_url), _place(url)
    if base is None or other is None or base.scheme != other.scheme or base.port != other.port:
        return False
    if base.host == other.host or _one_runtime(base.host) == _one_runtime(other.host):
        return True
    parent = _parent(base.host)
    return parent is not None and parent == _parent(other.host)


def _place(url: str) -> _Place | None:
    found = _URL.fullmatch(url)
    if found is None:
        return None
    scheme, host, port = found[1].lower(), found[2].lower(), int(found[3] or 0)
    if port > 65535 or (found[3] is not None and not port):
        return None
    return _Place(scheme, host, port or _PORTS[scheme])


def _one_runtime(host: str) -> str:
    return _AGENT_RUNTIME.sub("bedrock-runtime", host)


def _parent(host: str) -> str | None:
    """What neighbours share; None if this host can have none."""
    labels = host.split(".")
    if host.startswith("[") or "" in labels or len(labels) < 2 or labels[-1].isdecimal():
        return None
    if any(host == suffix or host.endswith(f".{suffix}") for suffix in _SHARED):
        return None
    if len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL:  # example.co.uk, example.com.cn
        return ".".join(labels[-3:]) if len(labels) > 2 else None
    return ".".join(labels[-2:])
