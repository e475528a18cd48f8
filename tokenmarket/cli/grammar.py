"""The words of the command line (``design/api.md`` section 7) and the types of their values.

Nothing is done here and nothing of the server is imported: a wrong word must be answered fast.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

from tokenmarket import __version__
from tokenmarket.core.money import nano_from_usd

EPILOG = """\
exit codes:
  0  done, or everything checked is in order
  1  a check failed or found differences (ledger verify, doctor, provider test), or it broke
  2  usage or configuration: nothing was changed, the message says what to write instead
  3  not found, or in conflict with what is there (a name in use, a key no longer valid)

Every command takes --data DIR or --database URL (TOKENMARKET_DATA, TOKENMARKET_DATABASE_URL) and
works beside a running server, which takes changes up within two seconds.
"""


class Groups(Protocol):
    """What argparse calls sub-parsers."""

    def add_parser(self, name: str, **options: Any) -> argparse.ArgumentParser: ...


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar; every command sets ``runs`` to "module:function" below tokenmarket.cli."""
    parser = argparse.ArgumentParser(
        prog="tokenmarket",
        description="A self-hostable AI model gateway: one API for every provider, exact billing.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"tokenmarket {__version__}")
    groups = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in (
        _serving,
        _admins,
        _orgs,
        _keys,
        _manage_keys,
        _credit,
        _providers,
        _catalog,
        _webhooks,
        _checks,
    ):
        add(groups)
    return parser


def _serving(groups: Groups) -> None:
    serve = _leaf(groups, "serve", "serving:serve", "run the gateway")
    serve.add_argument("--host", metavar="H", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", metavar="N", help="port to listen on (8080); 0 = any free one")
    serve.add_argument("--workers", metavar="N", help="processes (1; more need PostgreSQL)")
    serve.add_argument("--role", metavar="ROLE", help="all, or gateway for no pages")
    serve.add_argument("--log-level", metavar="LEVEL", help="debug, info, warning or error")
    sandbox = _leaf(
        groups, "sandbox", "sandboxing:run", "run the sandbox provider as a server of its own"
    )
    sandbox.add_argument("--host", metavar="H", default="127.0.0.1", help="address to listen on")
    sandbox.add_argument("--port", metavar="N", type=count, default=8090, help="port (8090)")
    sandbox.add_argument("--api-key", metavar="KEY", help="refuse callers without this key")


def _admins(groups: Groups) -> None:
    admin = _group(groups, "admin", "ways in for people")
    _leaf(admin, "link", "admins:link", "print a one-time link that makes an operator")
    reset = _leaf(admin, "reset", "admins:reset", "print a one-time link to set a password anew")
    reset.add_argument("email", metavar="EMAIL")


def _orgs(groups: Groups) -> None:
    org = _group(groups, "org", "organizations")
    create = _leaf(org, "create", "orgs:create", "create an organization")
    create.add_argument("name", metavar="NAME")
    _limits(create)
    _leaf(org, "list", "orgs:listing", "list organizations")


def _keys(groups: Groups) -> None:
    key = _group(groups, "key", "API keys")
    create = _leaf(key, "create", "keys:create", "create an API key; it is shown once")
    create.add_argument("--org", metavar="NAME", required=True, help="organization, name or id")
    create.add_argument("--name", metavar="N", default="default", help="what people call the key")
    _limits(create)
    create.add_argument("--models", type=names, metavar="a,b", help="only these models")
    create.add_argument("--providers", type=names, metavar="a,b", help="only these providers")
    create.add_argument("--operations", type=names, metavar="a,b", help="only these operations")
    create.add_argument("--addresses", type=names, metavar="NET,…", help="only from these networks")
    create.add_argument(
        "--expires", type=moment, metavar="DATE", help="2027-01-31 or 2027-01-31T12:00Z"
    )
    listing = _leaf(key, "list", "keys:listing", "list API keys, without the keys")
    listing.add_argument("--org", metavar="NAME", help="of this organization only")
    disable = _leaf(key, "disable", "keys:disable", "disable an API key, at once and for good")
    disable.add_argument("id", metavar="ID")
    rotate = _leaf(key, "rotate", "keys:rotate", "replace an API key by a new one")
    rotate.add_argument("id", metavar="ID")
    rotate.add_argument(
        "--overlap",
        type=duration,
        default=86_400,
        metavar="TIME",
        help="how long the old key stays valid: 0, 30m, 24h (default), 7d",
    )


def _manage_keys(groups: Groups) -> None:
    key = _group(groups, "manage-key", "keys of the management API")
    create = _leaf(key, "create", "manage_keys:create", "create one; it is shown once")
    create.add_argument(
        "--role", dest="key_role", metavar="ROLE", help="owner unless said otherwise"
    )
    create.add_argument("--name", metavar="N", default="default", help="what people call the key")
    create.add_argument("--expires", type=moment, metavar="DATE", help="at most a year from now")
    listing = _leaf(key, "list", "manage_keys:listing", "list them, without the keys")
    disable = _leaf(key, "disable", "manage_keys:disable", "disable one, at once and for good")
    disable.add_argument("id", metavar="ID")
    for leaf in (create, listing, disable):
        leaf.add_argument(
            "--org", metavar="NAME", help="organization, name or id; without it: operators' keys"
        )


def _credit(groups: Groups) -> None:
    credit = _group(groups, "credit", "money of customers")
    grant = _leaf(credit, "grant", "credit:grant", "give an organization credit")
    grant.add_argument("--org", metavar="NAME", required=True, help="organization, name or id")
    grant.add_argument("--amount", type=amount, metavar="USD", required=True, help="as in 12.50")
    grant.add_argument("--reason", metavar="TEXT", required=True, help="shown on the statement")
    grant.add_argument("--expires", type=moment, metavar="DATE", help="when what is left lapses")
    grant.add_argument(
        "--id", metavar="ID", help="an id of yours: the same id is never granted twice"
    )


def _providers(groups: Groups) -> None:
    provider = _group(groups, "provider", "upstream providers")
    add = _leaf(provider, "add", "providers:add", "add or change a provider")
    add.add_argument("name", metavar="NAME")
    add.add_argument("--adapter", metavar="KIND", required=True, help="openai, deepseek, …")
    add.add_argument("--base-url", metavar="URL", required=True, help="as in https://host/v1")
    key = add.add_mutually_exclusive_group()
    key.add_argument("--api-key-env", metavar="VAR", help="the variable that holds the key")
    key.add_argument(
        "--api-key-stdin", action="store_true", help="read the key from stdin; stored encrypted"
    )
    _leaf(provider, "list", "providers:listing", "list providers and whether they have a key")
    test = _leaf(provider, "test", "providers:test", "ask a provider for its models, with its key")
    test.add_argument("name", metavar="NAME")


def _catalog(groups: Groups) -> None:
    catalog = _group(groups, "catalog", "providers, models, routes and prices as TOML")
    apply = _leaf(catalog, "apply", "catalog:apply", "apply TOML files, all or nothing")
    apply.add_argument("files", metavar="FILE", nargs="+", help="- for stdin")
    export = _leaf(catalog, "export", "catalog:export", "print the catalog in force as TOML")
    export.add_argument("--own", action="store_true", help="only what was applied here")


def _webhooks(groups: Groups) -> None:
    webhook = _group(groups, "webhook", "callbacks to customers")
    secret = _leaf(webhook, "secret", "webhooks:secret", "show what callbacks are signed with")
    secret.add_argument("--org", metavar="NAME", required=True, help="organization, name or id")
    secret.add_argument("--rotate", action="store_true", help="replace it by a new one")
    secret.add_argument(
        "--overlap",
        type=duration,
        default=86_400,
        metavar="TIME",
        help="how long the old one signs beside it: 0, 30m, 24h (default), 7d",
    )


def _checks(groups: Groups) -> None:
    ledger = _group(groups, "ledger", "the books")
    _leaf(ledger, "verify", "checks:ledger", "prove every invariant of the money")
    _leaf(groups, "doctor", "doctor:examine", "check this installation and say what to do")


def _limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=amount, metavar="USD", help="spend at most, in total")
    parser.add_argument("--limit-day", type=amount, metavar="USD", help="spend at most per day")
    parser.add_argument("--limit-month", type=amount, metavar="USD", help="… per month (UTC)")
    parser.add_argument("--rpm", type=count, metavar="N", help="requests per minute")
    parser.add_argument("--tpm", type=count, metavar="N", help="tokens per minute")
    parser.add_argument("--concurrency", type=count, metavar="N", help="requests at a time")


def _leaf(groups: Groups, name: str, runs: str, text: str) -> argparse.ArgumentParser:
    parser = groups.add_parser(name, help=text, description=text, allow_abbrev=False)
    parser.set_defaults(runs=runs)
    parser.add_argument("--data", dest="data_dir", metavar="DIR", help="the data directory")
    parser.add_argument("--database", dest="database_url", metavar="URL", help="sqlite:///path")
    parser.add_argument("--config", metavar="FILE", help="settings as TOML")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _group(groups: Groups, name: str, text: str) -> Groups:
    parser = groups.add_parser(name, help=text, description=text, allow_abbrev=False)
    return parser.add_subparsers(title="commands", metavar="COMMAND", required=True)


def _typed(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """argparse shows the text of ArgumentTypeError only."""

    def checked(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return checked


@_typed
def count(text: str) -> int:
    """A whole number, not negative."""
    if re.fullmatch(r"[0-9]{1,12}", text) is None:
        raise ValueError(f"{text[:40]!r} is not a whole number from 0 up")
    return int(text)


@_typed
def amount(text: str) -> int:
    """USD -> nano-USD; not negative."""
    nano = nano_from_usd(text)
    if nano < 0:
        raise ValueError(f"{text!r} is negative")
    return nano


@_typed
def names(text: str) -> tuple[str, ...]:
    """``a,b`` -> ("a", "b")."""
    parts = tuple(part.strip() for part in text.split(","))
    if not all(parts):
        raise ValueError(f"{text[:40]!r} has an empty name; write a,b")
    return parts


@_typed
def moment(text: str) -> int:
    """An ISO date or time -> unix seconds; without a zone it is UTC."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a date; write 2027-01-31") from None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=UTC)
    return int(parsed.timestamp())


@_typed
def duration(text: str) -> int:
    """``90``, ``30m``, ``24h``, ``7d`` -> seconds; a year at the most."""
    match = re.fullmatch(r"([0-9]{1,9})([smhd]?)", text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is not a time; write 30m, 24h or 7d")
    seconds = int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]]
    if seconds > 366 * 86_400:
        raise ValueError("more than a year; make a second key instead")
    return seconds
