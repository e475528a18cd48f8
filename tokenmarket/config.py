"""The configuration of one process: the only reader of files and environment variables.

``load`` looks at the command line, then TOKENMARKET_* variables, then the TOML file of
``--config``, then the defaults; the first that names a setting wins. What is wrong is refused at
the start, with the place, the key and what to write instead. The result is frozen.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from tokenmarket.core.catalog import Provider
from tokenmarket.core.sealing import Root
from tokenmarket.files.store import Bucket
from tokenmarket.mail import MailServer
from tokenmarket.settings import SETTINGS, Network, Setting
from tokenmarket.store.credentials import OpenCredential
from tokenmarket.upstream.credentials import Secret
from tokenmarket.upstream.proxy import Proxies

SECRET_KEY_ENV = "TOKENMARKET_SECRET_KEY"
SECRET_FILE = "secret.key"


class ConfigError(Exception):
    """One setting that cannot be used. ``source`` is a file, a variable or the command line."""

    def __init__(self, source: str, key: str, problem: str) -> None:
        super().__init__(f"{source}: {key}: {problem}" if key else f"{source}: {problem}")
        self.source = source
        self.key = key


class Environment:
    """The environment as it was at the start, for keys of providers; its repr shows nothing."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    def provider_key(self, name: str) -> str | None:
        """The provider key in this variable; None if unset or empty.

        ConfigError if it cannot be a header value. Our own variables are never handed out: a
        catalog row must not be able to send the root secret to an upstream.
        """
        if name.startswith("TOKENMARKET_"):
            raise ConfigError("catalog", name, "TOKENMARKET_* variables are not provider keys")
        return checked_provider_key(self._values.get(name, ""), "environment", name)

    def bucket(self, url: str) -> Bucket:
        """The bucket of ``files_url``, with what the usual variables of AWS tools say."""
        found = {
            name: self._values.get(variable, "").strip() or None
            for name, variable in (
                ("endpoint", "AWS_ENDPOINT_URL"),
                ("region", "AWS_REGION"),
                ("access_key_id", "AWS_ACCESS_KEY_ID"),
                ("secret_access_key", "AWS_SECRET_ACCESS_KEY"),
                ("session_token", "AWS_SESSION_TOKEN"),
            )
        }
        return Bucket(url, **found)

    def unknown(self) -> list[str]:
        """TOKENMARKET_* variables that mean nothing to this version (for ``doctor``)."""
        known = {setting.env for setting in SETTINGS} | {SECRET_KEY_ENV, "TOKENMARKET_CONFIG"}
        ours = (name for name in self._values if name.startswith("TOKENMARKET_"))
        return sorted(name for name in ours if name not in known)

    def __repr__(self) -> str:
        return "Environment(***)"


def checked_provider_key(text: str, source: str, key: str) -> str | None:
    """A provider key fit for a header value, or a service account's JSON on one line; None if there
    is none. Raises ConfigError."""
    value = text.strip()
    if not value:
        return None
    if value.startswith("{") and value.isascii():
        try:
            return msgspec.json.format(value, indent=-1)
        except msgspec.MsgspecError:
            raise ConfigError(source, key, "it begins like a JSON key and is not JSON") from None
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigError(source, key, "a key is one line of printable ASCII without spaces")
    return value


def provider_secrets(
    environment: Environment, provider: Provider, stored: Iterable[OpenCredential]
) -> list[tuple[str, Secret]]:
    """(stable id, key) of everything that opens this provider, for its CredentialPool.

    Stored keys only if they were given for this base URL; then the variable of the catalog row.
    """
    found = [
        (row.id, Secret(row.secret))
        for row in stored
        if row.provider == provider.name and row.base_url == provider.base_url
    ]
    name = provider.api_key_env
    value = None if name is None else environment.provider_key(name)
    if name is not None and value is not None:
        found.append((name, Secret(value)))
    return found


class Config(msgspec.Struct, frozen=True):
    """Everything a process is told from outside; sizes in bytes, times in seconds.

    ``root`` is the secret that all others are derived from (``core/sealing.py`` names purposes).
    """

    # Where to listen. 127.0.0.1: nothing is exposed before somebody decides so. Port 0 = any free.
    host: str
    port: int
    # Database, journal and secret.key live here; on a local disk, because the journal is locked.
    data_dir: Path
    # A SQLite file; default DATA/tokenmarket.db.
    database_url: str
    # Processes; more than one needs PostgreSQL.
    workers: int
    # What the last byte waits for (design/billing.md section 5): interval = the write,
    # group = the flush to disk, replicated = the database.
    journal_sync: Literal["interval", "group", "replicated"]
    # A larger body is refused with 413 before it is read; it bounds memory per connection.
    json_body_bytes_max: int
    multipart_body_bytes_max: int
    # Uploads being received or used, all together, in memory and in DATA/spool; beyond it 503.
    upload_bytes_max: int
    # Where error answers point people to, without a slash at the end.
    docs_base_url: str
    # The gateway as its callers reach it, without a slash at the end: addresses of stored files
    # begin with it.
    public_base_url: str
    # Where results are kept: DATA/files, or a bucket ("s3://bucket/prefix", with the usual AWS_*
    # variables for keys, region and endpoint).
    files_url: str | None
    # So long a stored picture or sound can be had; videos say their own time.
    files_ttl_s: int
    # The longest that an organisation may have bodies of its requests kept, in DATA/contents;
    # 0: none may.
    contents_days_max: int
    # Only these may say in X-Forwarded-For who the caller is.
    trusted_proxies: tuple[Network, ...]
    # host:port of receivers that webhook endpoints may name although they are private or speak
    # plain http. Whoever may set up an endpoint can send there and see the first bytes of answers.
    webhook_origins: tuple[str, ...]
    log_level: str
    # After SIGTERM running requests get this long; a long stream should be able to finish.
    drain_s: int
    # What this process does: everything, or only the API without pages (gateway). Only pages (web)
    # needs a database that several processes share.
    role: Literal["all", "gateway", "web"]
    # Whether a page with a text that has no Chinese is refused: for tests and translators.
    strict_texts: bool
    # Who may make an account: everybody, who has an invitation, or nobody.
    sign_up: Literal["open", "invite", "closed"]
    # Where mail is handed over ("smtps://user:password@host"), and who it is from. Without it,
    # links that would be mailed are shown to whoever may pass them on.
    smtp_url: MailServer | None
    mail_from: str
    # Stripe's secret key and the secret of its webhook endpoint; both, or there is no Stripe.
    stripe_secret_key: Secret | None
    stripe_webhook_secret: Secret | None
    # Whether everybody may top up by the test provider, without money; the demo organisation may.
    payment_test_gateway: bool
    # What one top-up may be, and for how long unspent money can be asked back.
    topup_minimum_nano: int
    topup_maximum_nano: int
    refund_days: int
    # At what rate CNY is taken; empty: only USD is.
    cny_per_usd: str
    # Who invoices are from: name, address and tax number, separated by "; ".
    invoice_issuer: str
    # Whether an empty data directory gets the demo organisation, its grant and one key.
    demo: bool
    # Outgoing proxies by the usual variables (http_proxy, https_proxy, no_proxy).
    proxies: Proxies
    root: Root
    environment: Environment

    @property
    def base_url(self) -> str:
        """Where a caller on this machine reaches the API."""
        return f"http://{_reachable(self.host)}:{self.port}/api/v1"


def load(
    arguments: Mapping[str, object],
    environment: Mapping[str, str] | None = None,
    *,
    create: bool = True,
) -> Config:
    """Read everything once. ``arguments`` by field name (None = not given) and ``config`` = file;
    ``environment`` is that of the process unless a test gives another.

    ``create``: make the data directory and its secret when they are missing; a command that only
    looks passes False and gets a ConfigError instead. Raises ConfigError.
    """
    environment = os.environ if environment is None else environment
    file = arguments.get("config") or environment.get("TOKENMARKET_CONFIG")
    document = _read_toml(Path(str(file))) if file else {}
    values: dict[str, Any] = {
        s.name: _find(s, arguments, environment, document, file) for s in SETTINGS
    }
    _fill_places(values)
    if values["role"] == "web":
        raise ConfigError(
            "settings",
            "role",
            "a process for pages alone needs PostgreSQL, which this version does not support; "
            "write all, or gateway for a process without pages",
        )
    data_dir = Path(str(values["data_dir"]))
    _open_data_dir(data_dir, create)
    values["root"] = Root(_root_secret(data_dir, environment, create))
    values["environment"] = Environment(environment)
    values["proxies"] = _proxies(environment)
    return Config(**values)


def _read_toml(path: Path) -> dict[str, object]:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(str(path), "", f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), "", f"is not TOML: {error}") from error
    known = [setting.key for setting in SETTINGS]
    for key in document:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            advice = f"write {near[0]!r}" if near else f"the keys are {', '.join(known)}"
            raise ConfigError(str(path), key, f"no such setting; {advice}")
    return document


def _find(
    setting: Setting,
    arguments: Mapping[str, object],
    environment: Mapping[str, str],
    document: Mapping[str, object],
    file: object,
) -> object:
    """The value of one setting from the first place that names it."""
    if arguments.get(setting.name) is not None:
        source, key = "command line", f"--{setting.key.replace('_', '-')}"
        value = arguments[setting.name]
    elif environment.get(setting.env):
        source, key, value = "environment", setting.env, environment[setting.env]
    elif setting.key in document:
        source, key, value = str(file), setting.key, document[setting.key]
    else:
        return setting.default
    try:
        return setting.read(value)
    except ValueError as error:
        raise ConfigError(source, key, str(error)) from error


def _fill_places(values: dict[str, object]) -> None:
    """Defaults that follow from other settings."""
    database = values["database_url"]
    if values["data_dir"] is None:
        path = str(database or "")
        # a database given alone: the journal and the secret live beside it
        beside = path.startswith("sqlite:///") or (path and "://" not in path)
        values["data_dir"] = (
            Path(path.removeprefix("sqlite:///")).parent if beside else Path("data")
        )
    if database is None:
        values["database_url"] = str(Path(str(values["data_dir"])) / "tokenmarket.db")
    for name in ("docs_base_url", "public_base_url"):
        if values[name] is None:
            host = _reachable(str(values["host"]))
            values[name] = f"http://{host}:{values['port']}"


def _reachable(host: str) -> str:
    """A host to listen on, as a host to call: wildcards become loopback, IPv6 gets brackets."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (names it, binds nothing)
    return f"[{host}]" if ":" in host else host


def _open_data_dir(path: Path, create: bool) -> None:
    try:
        if create:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_dir():
            problem = "is not a directory" if path.exists() else "does not exist"
            raise ConfigError("data directory", str(path), f"{problem}; give another --data")
    except OSError as error:
        raise ConfigError("data directory", str(path), f"{error.strerror}") from error


def _root_secret(data_dir: Path, environment: Mapping[str, str], create: bool) -> bytes:
    """From the environment, else from DATA/secret.key, which is made on the first start."""
    text = environment.get(SECRET_KEY_ENV)
    if text:
        return _secret_from_hex(text, "environment", SECRET_KEY_ENV)
    path = data_dir / SECRET_FILE
    try:
        if create and not path.exists():
            _write_secret(path)
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise ConfigError(
            "data directory", str(path), "is missing; start the server once, or check --data"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("data directory", str(path), f"cannot be read: {error}") from error
    if mode & 0o007:
        raise ConfigError("data directory", str(path), f"others may read it; chmod 600 {path}")
    return _secret_from_hex(text, "data directory", str(path))


def _secret_from_hex(text: str, source: str, key: str) -> bytes:
    if re.fullmatch(r"[0-9a-fA-F]{64}", text.strip()) is None:
        raise ConfigError(source, key, "must be 64 hex digits, as from: openssl rand -hex 32")
    return bytes.fromhex(text.strip())


def _write_secret(path: Path) -> None:
    """Whole or not at all, and never over an existing one: two first starts agree on one secret."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(os.urandom(32).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)


def _proxies(environment: Mapping[str, str]) -> Proxies:
    """The lower-case variable wins, as with curl."""
    found = {
        name: (environment.get(name) or environment.get(name.upper()) or "").strip()
        for name in ("http_proxy", "https_proxy", "no_proxy")
    }
    try:
        return Proxies(
            http=found["http_proxy"], https=found["https_proxy"], no_proxy=found["no_proxy"]
        )
    except ValueError as error:
        raise ConfigError("environment", "http_proxy, https_proxy", str(error)) from error
