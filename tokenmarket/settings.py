"""Every setting by name: where it may stand, how its value is read, what it is by default.

``config.load`` reads them; the tables of both READMEs are held to ``SETTINGS`` by a test. A reader
takes a TOML value or text and raises ValueError that says what to write instead.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from tokenmarket.core.addresses import endpoint
from tokenmarket.core.contents import DAYS_MAX as CONTENT_DAYS_MAX
from tokenmarket.core.money import nano_from_usd
from tokenmarket.mail import MailServer
from tokenmarket.upstream.credentials import Secret

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MIB = 1024 * 1024
SECRET_CHARS_MIN = 24
CENT_NANO = 10_000_000
AMOUNT_NANO_MAX = 1_000_000 * 1_000_000_000
JOURNAL_SYNC = ("interval", "group", "replicated")
LOG_LEVELS = ("debug", "info", "warning", "error")
ROLES = ("all", "gateway", "web")
SIGN_UP = ("open", "invite", "closed")


class Setting(msgspec.Struct, frozen=True):
    """One row of SETTINGS."""

    name: str  # field of Config and name of the argument
    key: str  # in the TOML file
    env: str
    read: Callable[[object], object]
    default: object


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError("write one line of text")
    return value


def _host(value: object) -> str:
    text = _text(value)
    if re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", text) is None:
        raise ValueError(f"{text!r} is not a host; write an address or a name, as in 127.0.0.1")
    return text


def _path(value: object) -> Path:
    return Path(_text(value)).expanduser()


def _whole(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValueError(f"write a whole number from {low} to {high}")
        return value

    return read


def _one_of(*names: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in names:
            raise ValueError(f"write one of {', '.join(names)}")
        return value.lower()

    return read


def _yes_or_no(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("1", "true", "yes", "0", "false", "no"):
        return value.lower() in ("1", "true", "yes")
    raise ValueError("write true or false")


def _url(value: object) -> str:
    text = _text(value).rstrip("/")
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname and " " not in text
    except ValueError:
        good = False
        parts = None
    if not good or parts is None or parts.username or parts.query or parts.fragment:
        raise ValueError("write an address such as https://gateway.example, without a query")
    return text


def _bucket_url(value: object) -> str:
    text = _text(value)
    if re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9_./-]*)?", text) is None:
        raise ValueError("write s3://bucket or s3://bucket/prefix; for the disk leave it out")
    return text


def _listed(value: object, advice: str) -> list[object]:
    """The parts of a TOML list, or of a text with commas."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    if isinstance(value, list):
        return list(msgspec.convert(value, list[object]))
    raise ValueError(advice)


def _networks(value: object) -> tuple[Network, ...]:
    networks: list[Network] = []
    for part in _listed(value, 'write a list of networks, as in ["10.0.0.0/8"]'):
        if not isinstance(part, str):
            raise ValueError(f"{part!r} is not a network; write one as in 10.0.0.0/8")
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError as error:
            raise ValueError(f"{error}; write a network as in 10.0.0.0/8") from error
    return tuple(networks)


def _origins(value: object) -> tuple[str, ...]:
    """``host:port``, as ``core/addresses.endpoint`` writes it."""
    origins: list[str] = []
    for part in _listed(value, 'write a list of host:port, as in ["10.0.0.7:8443"]'):
        if not isinstance(part, str) or not re.fullmatch(r"\S+:[0-9]{1,5}", part, re.ASCII):
            raise ValueError(f"{part!r} is not host:port; write one as in 10.0.0.7:8443")
        origins.append(endpoint(f"http://{part}"))
    return tuple(origins)


def _mail_server(value: object) -> MailServer:
    """``smtp://user:password@host:587`` or ``smtps://…:465``; the text is never echoed."""
    advice = "write smtps://user:password@host or smtp://host:25"
    try:
        parts = urlsplit(_text(value))
        tls = parts.scheme == "smtps"
        port = parts.port or (465 if tls else 587)
        bare = not parts.path.strip("/") and not parts.query and not parts.fragment
    except ValueError:
        raise ValueError(advice) from None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or not bare:
        raise ValueError(advice)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(parts.hostname, port, tls, user, password)


def _mail_from(value: object) -> str:
    text = _text(value)
    if re.fullmatch(r"[^<>@]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+", text) is None:
        raise ValueError("write an address, as in TokenMarket <no-reply@example.com>")
    return text


def _secret(chars_min: int) -> Callable[[object], Secret]:
    def read(value: object) -> Secret:
        bare = isinstance(value, str) and value.isascii() and value.isprintable()
        if not bare or " " in str(value) or len(str(value)) < chars_min:  # never echoed
            raise ValueError(f"write one line of at least {chars_min} printable ASCII characters")
        return Secret(str(value))

    return read


def _amount(value: object) -> int:
    nano = nano_from_usd(str(value))
    if not 0 < nano <= AMOUNT_NANO_MAX or nano % CENT_NANO:
        raise ValueError("write an amount in USD from 0.01 to 1000000 with at most two decimals")
    return nano


def _rate(value: object) -> str:
    text = str(value)
    if re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,6})?", text) is None or not float(text):
        raise ValueError('write a number with at most 6 decimals as text, as in "7.12"')
    return text


SETTINGS: tuple[Setting, ...] = (
    Setting("host", "host", "TOKENMARKET_HOST", _host, "127.0.0.1"),
    Setting("port", "port", "TOKENMARKET_PORT", _whole(0, 65535), 8080),
    Setting("data_dir", "data", "TOKENMARKET_DATA", _path, None),
    Setting("database_url", "database", "TOKENMARKET_DATABASE_URL", _text, None),
    Setting("workers", "workers", "TOKENMARKET_WORKERS", _whole(1, 512), 1),
    Setting(
        "journal_sync",
        "journal_sync",
        "TOKENMARKET_JOURNAL_SYNC",
        _one_of(*JOURNAL_SYNC),
        "interval",
    ),
    Setting(
        "json_body_bytes_max",
        "json_body_bytes_max",
        "TOKENMARKET_JSON_BODY_BYTES_MAX",
        _whole(1024, 1024 * MIB),
        32 * MIB,
    ),
    Setting(
        "multipart_body_bytes_max",
        "multipart_body_bytes_max",
        "TOKENMARKET_MULTIPART_BODY_BYTES_MAX",
        _whole(1024, 4096 * MIB),
        200 * MIB,
    ),
    Setting(
        "upload_bytes_max",
        "upload_bytes_max",
        "TOKENMARKET_UPLOAD_BYTES_MAX",
        _whole(1024, 1024 * 1024 * MIB),
        2048 * MIB,
    ),
    Setting("docs_base_url", "docs_base_url", "TOKENMARKET_DOCS_BASE_URL", _url, None),
    Setting("public_base_url", "public_base_url", "TOKENMARKET_PUBLIC_BASE_URL", _url, None),
    Setting("files_url", "files_url", "TOKENMARKET_FILES_URL", _bucket_url, None),
    Setting("files_ttl_s", "files_ttl_s", "TOKENMARKET_FILES_TTL_S", _whole(60, 2_592_000), 3600),
    Setting(
        "contents_days_max",
        "contents_days_max",
        "TOKENMARKET_CONTENTS_DAYS_MAX",
        _whole(0, CONTENT_DAYS_MAX),
        CONTENT_DAYS_MAX,
    ),
    Setting("trusted_proxies", "trusted_proxies", "TOKENMARKET_TRUSTED_PROXIES", _networks, ()),
    Setting("webhook_origins", "webhook_origins", "TOKENMARKET_WEBHOOK_ORIGINS", _origins, ()),
    Setting("log_level", "log_level", "TOKENMARKET_LOG_LEVEL", _one_of(*LOG_LEVELS), "info"),
    Setting("drain_s", "drain_s", "TOKENMARKET_DRAIN_S", _whole(0, 3600), 30),
    Setting("role", "role", "TOKENMARKET_ROLE", _one_of(*ROLES), "all"),
    Setting("strict_texts", "strict_texts", "TOKENMARKET_STRICT_TEXTS", _yes_or_no, False),
    Setting("sign_up", "sign_up", "TOKENMARKET_SIGN_UP", _one_of(*SIGN_UP), "invite"),
    Setting("smtp_url", "smtp_url", "TOKENMARKET_SMTP_URL", _mail_server, None),
    Setting(
        "mail_from",
        "mail_from",
        "TOKENMARKET_MAIL_FROM",
        _mail_from,
        "TokenMarket <no-reply@localhost>",
    ),
    Setting(
        "stripe_secret_key",
        "stripe_secret_key",
        "TOKENMARKET_STRIPE_SECRET_KEY",
        _secret(SECRET_CHARS_MIN),
        None,
    ),
    Setting(
        "stripe_webhook_secret",
        "stripe_webhook_secret",
        "TOKENMARKET_STRIPE_WEBHOOK_SECRET",
        _secret(SECRET_CHARS_MIN),
        None,
    ),
    Setting(
        "payment_test_gateway",
        "payment_test_gateway",
        "TOKENMARKET_PAYMENT_TEST_GATEWAY",
        _yes_or_no,
        False,
    ),
    Setting(
        "topup_minimum_nano",
        "topup_minimum",
        "TOKENMARKET_TOPUP_MINIMUM",
        _amount,
        5_000_000_000,
    ),
    Setting(
        "topup_maximum_nano",
        "topup_maximum",
        "TOKENMARKET_TOPUP_MAXIMUM",
        _amount,
        5_000_000_000_000,
    ),
    Setting("refund_days", "refund_days", "TOKENMARKET_REFUND_DAYS", _whole(0, 365), 14),
    Setting("cny_per_usd", "cny_per_usd", "TOKENMARKET_CNY_PER_USD", _rate, ""),
    Setting("invoice_issuer", "invoice_issuer", "TOKENMARKET_INVOICE_ISSUER", _text, ""),
    Setting("demo", "demo", "TOKENMARKET_DEMO", _yes_or_no, True),
)
