"""Provider keys: sealed in the file, opened only for their row, URL and root."""

from pathlib import Path

import pytest
from sqlalchemy import text

from tokenmarket.core.sealing import SealBroken
from tokenmarket.store import accounts, credentials
from tokenmarket.store.database import Database

KEK = b"k" * 32
URL = "https://one.example/v1"
SECRET = "sk-0123456789abcdefghijklmnop"
NOW_US = 1_795_392_000_000_000


async def stored(database: Database, *secrets: str, url: str = URL) -> list[str]:
    async with database.begin() as conn:
        rows = await credentials.replace(conn, KEK, "one", url, list(secrets), now_us=NOW_US)
    return [row.id for row in rows]


async def opened(database: Database, kek: bytes = KEK) -> list[str]:
    async with database.read() as conn:
        return [row.secret for row in await credentials.open_all(conn, kek)]


async def test_a_key_comes_back_and_is_nowhere_in_clear(database: Database) -> None:
    await stored(database, SECRET)
    assert await opened(database) == [SECRET]
    async with database.read() as conn:
        rows = await credentials.open_all(conn, KEK)
        listed = await credentials.listed(conn)
    assert SECRET not in repr(rows)
    assert (listed[0].hint, listed[0].base_url) == ("mnop", URL)
    await database.close()
    for file in Path(database.path).parent.iterdir():
        assert SECRET.encode() not in file.read_bytes()


async def test_a_short_key_shows_no_hint(database: Database) -> None:
    await stored(database, "short")
    async with database.read() as conn:
        assert [row.hint for row in await credentials.listed(conn)] == [""]


@pytest.mark.parametrize(
    "moving",
    [
        "UPDATE credential SET base_url = 'https://evil.example/v1'",
        "UPDATE credential SET id = id || '0'",
        "UPDATE credential SET sealed = (SELECT max(sealed) FROM credential)"
        " WHERE sealed = (SELECT min(sealed) FROM credential)",
        "UPDATE credential SET wrapped_key = 'AAAA', sealed = ''",
    ],
)
async def test_a_moved_ciphertext_does_not_open(database: Database, moving: str) -> None:
    await stored(database, SECRET, SECRET + "2")
    async with database.begin() as conn:
        await conn.execute(text(moving))
    with pytest.raises(SealBroken):
        await opened(database)


async def test_another_root_does_not_open(database: Database) -> None:
    await stored(database, SECRET)
    with pytest.raises(SealBroken):
        await opened(database, b"x" * 32)


async def test_replacing_keeps_the_rows_of_keys_that_stay(database: Database) -> None:
    first = await stored(database, "aaa", "bbb")
    second = await stored(database, "bbb", "ccc", "ccc")
    assert sorted(await opened(database)) == ["bbb", "ccc"]
    assert len(set(first) & set(second)) == 1
    third = await stored(database, "bbb", "ccc", url="https://two.example/v1")
    assert not set(second) & set(third), "a key is sealed for its URL"
    assert await stored(database) == []


async def test_a_disabled_key_is_not_opened_and_all_changes_are_noticed(database: Database) -> None:
    async def generation() -> int:
        async with database.read() as conn:
            return await accounts.generation(conn)

    before = await generation()
    (credential_id,) = await stored(database, SECRET)
    added = await generation()
    assert added > before
    async with database.begin() as conn:
        await credentials.disable(conn, credential_id, 1)
    assert await generation() > added
    assert await opened(database) == []
    async with database.read() as conn:
        assert [row.disabled_at_s for row in await credentials.listed(conn, "one")] == [1]
        assert await credentials.listed(conn, "two") == []
