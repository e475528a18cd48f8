"""``tokenmarket admin link | reset``: ways in for people, by whoever controls the machine."""

from __future__ import annotations

from argparse import Namespace

from tokenmarket.accounts import operators, people
from tokenmarket.accounts.admin import NotThere
from tokenmarket.accounts.identity import Identity
from tokenmarket.accounts.links import RESET_BY_HAND_S, WELCOME_S, Links
from tokenmarket.billing.clock import SystemClock
from tokenmarket.cli.running import Answer, desk
from tokenmarket.core import sealing
from tokenmarket.mail import Mail
from tokenmarket.store import accounts as rows


async def link(arguments: Namespace) -> Answer:
    """A new one-time link that makes an operator."""
    async with desk(arguments) as at:
        links = Links(at.database, SystemClock(), at.config.root.derive(sealing.LINKS))
        url = await operators.welcome_link(links, at.config.public_base_url)
        async with at.database.begin() as conn:
            await rows.append_audit(conn, at.now_us, at.actor, "operator.link", "operator", {})
    document = {
        "object": "one_time_link",
        "url": url,
        "expires_at": at.now_us // 1_000_000 + WELCOME_S,
    }
    return Answer(document, f"{url}\nmakes an operator, once, within 24 hours")


async def reset(arguments: Namespace) -> Answer:
    """A one-time link with which a person sets a new password."""
    async with desk(arguments) as at:
        user = await people.find_by_email(at.database, arguments.email)
        if user is None:
            raise NotThere(f"there is no account {arguments.email!r}")
        identity = Identity(
            at.database,
            SystemClock(),
            at.config.root,
            Mail(None, at.config.mail_from),
            sign_up=at.config.sign_up,
            base_url=lambda: at.config.public_base_url,
        )
        url = await identity.reset_link(user, by=at.actor)
        await identity.close()
    document = {
        "object": "one_time_link",
        "url": url,
        "expires_at": at.now_us // 1_000_000 + RESET_BY_HAND_S,
    }
    return Answer(document, f"{url}\nsets a new password of {user.email}, once, within 24 hours")
