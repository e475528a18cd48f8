"""What the operator's pages share: what the domain refuses, as a text for the page; times of forms.

Nothing here has a page of its own.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime

from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.core import sealing
from tokenmarket.core.catalog_rows import CatalogDocument
from tokenmarket.core.wording import said_by
from tokenmarket.store.database import Connection
from tokenmarket.web.site.visit import Visit

WRONG = (Refused, Taken)


def said(visit: Visit, error: Exception) -> str:
    """The refusal in the visitor's language; details of the catalog's rules stay as they are."""
    return visit.said(said_by(error))


class Entries(dict[str, object]):
    """What a form shows in its fields; one that was not sent is empty."""

    def __missing__(self, name: str) -> object:
        return ""


def shipped(visit: Visit) -> CatalogDocument:
    return visit.parts.catalog.shipped


def kek(visit: Visit) -> bytes:
    return visit.parts.root.derive(sealing.KEY_ENCRYPTION)


@asynccontextmanager
async def or_not_found(visit: Visit) -> AsyncGenerator[None]:
    """What is not there is a page that is not there."""
    try:
        yield
    except NotThere:
        raise visit.not_found() from None


@asynccontextmanager
async def reading(visit: Visit) -> AsyncGenerator[Connection]:
    """One snapshot of the database; what is not there is a 404."""
    async with or_not_found(visit), visit.parts.database.read() as conn:
        yield conn


def moment_us(visit: Visit, text: str) -> int | None:
    """``2026-11-24T18:00`` of a form, in the page's time zone; None if it is empty or no time."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=visit.time_zone)
    return int(at.timestamp()) * 1_000_000


def whole(text: str) -> int | None:
    """A whole number of a form, None for an empty field. Raises ValueError."""
    text = text.strip().replace(",", "").replace("_", "")
    if not text:
        return None
    if len(text) > 18:
        raise ValueError(text[:20])
    return int(text)
