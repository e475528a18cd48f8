"""Keys of upstream providers, sealed (``core/sealing.py``), opened only in memory.

A credential belongs to one base URL: if the provider's URL changes, the key must be given again
(``design/security.md`` F7). The URL is part of what the seal is bound to, so editing the column
does not help.
"""

from __future__ import annotations

import base64
import os

import msgspec
from sqlalchemy import delete, insert, select, update

from tokenmarket.core import ids, sealing
from tokenmarket.store.accounts import bump_generation
from tokenmarket.store.database import Connection
from tokenmarket.store.tables import credential

_VERSION = 1


class CredentialRow(msgspec.Struct, frozen=True):
    """One stored key, without the key; ``hint`` is its last four characters."""

    id: str
    provider: str
    base_url: str
    hint: str
    disabled_at_s: int | None
    created_us: int


class OpenCredential(msgspec.Struct, frozen=True):
    """One key in clear, for the credential pool of its provider."""

    id: str
    provider: str
    base_url: str
    secret: str

    def __repr__(self) -> str:
        return f"OpenCredential({self.id}, {self.provider}, ***)"


async def add(
    conn: Connection, kek: bytes, provider: str, base_url: str, secret: str, *, now_us: int
) -> CredentialRow:
    """Seal and store one more key of a provider; ``kek`` = root.derive(KEY_ENCRYPTION)."""
    row = CredentialRow(
        id=ids.new_id("cred", now_us, os.urandom(ids.RANDOM_BYTES)),
        provider=provider,
        base_url=base_url,
        hint=secret[-4:] if len(secret) >= 16 else "",
        disabled_at_s=None,
        created_us=now_us,
    )
    wrapped, sealed = sealing.seal(
        secret.encode(), kek, _bound_to(row.id, base_url), os.urandom(sealing.RANDOM_BYTES)
    )
    await conn.execute(
        insert(credential).values(
            **{name: getattr(row, name) for name in row.__struct_fields__},
            version=_VERSION,
            wrapped_key=base64.b64encode(wrapped).decode(),
            sealed=base64.b64encode(sealed).decode(),
        )
    )
    await bump_generation(conn)
    return row


async def replace(
    conn: Connection, kek: bytes, provider: str, base_url: str, secrets: list[str], *, now_us: int
) -> list[CredentialRow]:
    """Make ``secrets`` the only keys of a provider; a key that is there already keeps its row."""
    kept = {c.secret: c.id for c in await open_all(conn, kek, provider=provider)}
    wanted = dict.fromkeys(secrets)
    same = {id_ for secret, id_ in kept.items() if secret in wanted}
    for row in await listed(conn, provider):
        if row.id not in same or row.base_url != base_url:
            await conn.execute(delete(credential).where(credential.c.id == row.id))
    rows = {row.id: row for row in await listed(conn, provider)}
    for secret in wanted:
        if kept.get(secret) not in rows:
            row = await add(conn, kek, provider, base_url, secret, now_us=now_us)
            rows[row.id] = row
    await bump_generation(conn)
    return list(rows.values())


async def listed(conn: Connection, provider: str | None = None) -> list[CredentialRow]:
    """All stored keys (of one provider), oldest first, without opening them."""
    columns = [credential.c[name] for name in CredentialRow.__struct_fields__]
    query = select(*columns).order_by(credential.c.id)
    if provider is not None:
        query = query.where(credential.c.provider == provider)
    return [CredentialRow(*row) for row in await conn.execute(query)]


async def open_all(
    conn: Connection, kek: bytes, *, provider: str | None = None
) -> list[OpenCredential]:
    """The keys that are not disabled, in clear. Raises SealBroken if the root is another one.

    Use only those whose ``base_url`` is the provider's.
    """
    query = select(credential).where(credential.c.disabled_at_s.is_(None)).order_by(credential.c.id)
    if provider is not None:
        query = query.where(credential.c.provider == provider)
    found: list[OpenCredential] = []
    for row in (await conn.execute(query)).mappings():
        secret = sealing.unseal(
            base64.b64decode(row["wrapped_key"]),
            base64.b64decode(row["sealed"]),
            kek,
            _bound_to(row["id"], row["base_url"]),
        )
        found.append(
            OpenCredential(
                id=row["id"],
                provider=row["provider"],
                base_url=row["base_url"],
                secret=secret.decode(),
            )
        )
    return found


async def disable(conn: Connection, credential_id: str, at_s: int) -> None:
    """Stop using a key; it stays stored."""
    statement = update(credential).where(
        credential.c.id == credential_id, credential.c.disabled_at_s.is_(None)
    )
    await conn.execute(statement.values(disabled_at_s=at_s))
    await bump_generation(conn)


def _bound_to(credential_id: str, base_url: str) -> bytes:
    """Table, row, version and URL: a ciphertext moved anywhere else does not open."""
    return f"credential:{credential_id}:{_VERSION}:{base_url}".encode()
