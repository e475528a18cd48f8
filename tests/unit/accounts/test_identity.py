"""Ways in: password, code, proof, reset, sign-up, the first operator; and what strangers learn."""

from collections.abc import AsyncGenerator

import pytest
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from sqlalchemy import text

from tests.support.mailbox import Mailbox, no_mail
from tests.support.people import PASSWORD, cheap_passwords
from tests.unit.accounts.clock import HandClock
from tokenmarket.accounts import members, operators, people
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.accounts.facts import SIGN_UP
from tokenmarket.accounts.identity import From, Identity, NeedsCode, SignedIn, WrongPassword
from tokenmarket.accounts.members import By
from tokenmarket.accounts.second_factor import app_uri, qr_svg
from tokenmarket.accounts.throttle import ACCOUNT, PAIR, SOURCE, TooMany
from tokenmarket.core.sealing import Root
from tokenmarket.mail import Mail
from tokenmarket.store import accounts as rows
from tokenmarket.store.database import Database

HERE = From("203.0.113.7", "test")
NEW = "another long password"


class Desk:
    """One Identity with everything a test moves."""

    def __init__(self, database: Database, mail: Mail, sign_up: str = "open") -> None:
        self.database = database
        self.clock = HandClock()
        self.mailbox = mail
        self.identity = Identity(
            database, self.clock, Root(b"r" * 32), mail,
            sign_up=sign_up,  # type: ignore[arg-type]
            base_url=lambda: "https://gw.example", passwords=cheap_passwords(),
        )  # fmt: skip

    async def join(self, email: str = "ann@example.com") -> SignedIn:
        return await self.identity.sign_up(email, "Ann", PASSWORD, HERE, language="en")


@pytest.fixture
async def desk(database: Database) -> AsyncGenerator[Desk]:
    made = Desk(database, Mailbox())
    yield made
    await made.identity.close()


def code(secret: str, clock: HandClock, drift_s: int = 0) -> str:
    import base64

    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    totp = TOTP(key, 6, SHA1(), 30, enforce_key_length=False)
    return totp.generate(int(clock.now_s) + drift_s).decode()


async def test_signing_up_makes_an_organisation_and_signs_in(desk: Desk) -> None:
    made = await desk.join()
    session = await desk.identity.sessions.find(made.token)
    assert session is not None
    assert session.user.email == "ann@example.com"
    [mine] = await members.of_user(desk.database, made.user.id)
    assert (mine.org_name, mine.role) == ("Ann", "owner")
    with pytest.raises(Taken):
        await desk.join("ANN@example.com")
    for email, password in (("no address", PASSWORD), ("b@example.com", "short")):
        with pytest.raises(Refused):
            await desk.identity.sign_up(email, "Bob", password, HERE, language="en")
    assert await people.find_by_email(desk.database, "b@example.com") is None


async def test_a_password_and_nothing_else_lets_in(desk: Desk) -> None:
    await desk.join()
    found = await desk.identity.sign_in(" ANN@example.com ", PASSWORD, HERE)
    assert isinstance(found, SignedIn)
    for email, password in (
        ("ann@example.com", PASSWORD + " "),
        ("nobody@example.com", PASSWORD),
        ("", ""),
        ("x" * 10_000, "y" * 10_000),
    ):
        with pytest.raises(WrongPassword):
            await desk.identity.sign_in(email, password, HERE)


async def test_a_suspended_account_is_like_a_wrong_password(desk: Desk) -> None:
    made = await desk.join()
    await people.set_disabled(
        desk.database, made.user.id, True, now_us=desk.clock.wall_us(), by="test"
    )
    with pytest.raises(WrongPassword):
        await desk.identity.sign_in("ann@example.com", PASSWORD, HERE)
    await desk.identity.ask_reset("ann@example.com", HERE)
    assert "/reset/" not in "".join(letter.text for letter in _letters(desk))


async def test_guessing_is_slowed_down_and_the_owner_is_not_locked_out(desk: Desk) -> None:
    await desk.join()
    await desk.identity.sign_in("ann@example.com", PASSWORD, HERE)
    stranger = From("198.51.100.1", "")

    async def guess(email: str = "ann@example.com", address: str = stranger.address) -> None:
        with pytest.raises(WrongPassword):
            await desk.identity.sign_in(email, "wrong password", From(address, ""))

    for _ in range(PAIR.free):
        await guess()
    with pytest.raises(TooMany) as refused:
        await desk.identity.sign_in("ann@example.com", PASSWORD, stranger)
    assert refused.value.retry_after_s == PAIR.first_s
    assert isinstance(await desk.identity.sign_in("ann@example.com", PASSWORD, HERE), SignedIn)
    desk.clock.now_s += PAIR.first_s
    await guess()
    with pytest.raises(TooMany) as refused:
        await guess()
    assert refused.value.retry_after_s == 2 * PAIR.first_s

    for number in range(ACCOUNT.free):  # from many places: the account itself waits, but briefly
        try:
            await guess(address=f"2001:db8:0:{number:x}::1")
        except TooMany:
            break
    with pytest.raises(TooMany) as refused:
        await guess(address="192.0.2.200")
    assert refused.value.retry_after_s <= ACCOUNT.most_s
    assert isinstance(await desk.identity.sign_in("ann@example.com", PASSWORD, HERE), SignedIn)


async def test_one_ipv6_network_is_one_source(desk: Desk) -> None:
    for number in range(20):
        with pytest.raises(WrongPassword):
            await desk.identity.sign_in(
                f"u{number}@example.com", "x", From(f"2001:db8:1:2::{number:x}", "")
            )
    with pytest.raises(TooMany):
        await desk.identity.sign_in("other@example.com", "x", From("2001:db8:1:2:ffff::1", ""))


async def test_a_second_factor_stands_between_password_and_session(desk: Desk) -> None:
    made = await desk.join()
    factor = desk.identity.second_factor
    secret = await factor.begin(made.user)
    assert await factor.begin(made.user) == secret
    assert isinstance(await desk.identity.sign_in("ann@example.com", PASSWORD, HERE), SignedIn)
    with pytest.raises(Refused):
        await factor.confirm(made.user, "000000")
    codes = await factor.confirm(made.user, code(secret, desk.clock))
    assert len(set(codes)) == 10
    with pytest.raises(Taken):
        await factor.begin(made.user)

    step = await desk.identity.sign_in("ann@example.com", PASSWORD, HERE)
    assert isinstance(step, NeedsCode)
    assert await desk.identity.sessions.find(step.pending) is None
    give = desk.identity.give_code
    for wrong in ("", "12345", "abcdef", "000000", code(secret, desk.clock)):  # the last: replayed
        with pytest.raises(WrongPassword):
            await give(step.pending, wrong, HERE)
    desk.clock.now_s += 60
    right = code(secret, desk.clock)
    signed = await give(step.pending, f"{right[:3]} {right[3:]}", HERE)
    assert await desk.identity.sessions.find(signed.token) is not None
    with pytest.raises(NotThere):
        await give(step.pending, right, HERE)

    again = await desk.identity.sign_in("ann@example.com", PASSWORD, HERE)
    assert isinstance(again, NeedsCode)
    with pytest.raises(WrongPassword):
        await give(again.pending, right, HERE)  # each code once
    assert await give(again.pending, codes[0].upper().replace("-", " "), HERE)
    third = await desk.identity.sign_in("ann@example.com", PASSWORD, HERE)
    assert isinstance(third, NeedsCode)
    with pytest.raises(WrongPassword):
        await give(third.pending, codes[0], HERE)
    assert await factor.codes_left(made.user.id) == 9
    desk.clock.now_s += 601
    with pytest.raises(NotThere):
        await give(third.pending, codes[1], HERE)

    renewed = await factor.renew_codes(made.user)
    assert not set(renewed) & set(codes)
    assert not await factor.check(made.user.id, codes[1])
    await factor.remove(made.user, by="test")
    assert not await factor.check(made.user.id, renewed[0])
    assert isinstance(await desk.identity.sign_in("ann@example.com", PASSWORD, HERE), SignedIn)


async def test_neither_secret_nor_recovery_code_stands_in_clear(desk: Desk) -> None:
    made = await desk.join()
    secret = await desk.identity.second_factor.begin(made.user)
    codes = await desk.identity.second_factor.confirm(made.user, code(secret, desk.clock))
    raw = desk.database.path.read_bytes() + desk.database.path.with_suffix(".db-wal").read_bytes()
    for hidden in (secret, codes[0], PASSWORD, made.token):
        assert hidden.encode() not in raw
    assert secret in app_uri(secret, "ann@example.com")
    assert "style" not in qr_svg(app_uri(secret, "ann@example.com"))


async def test_proof_renews_the_session_and_its_token(desk: Desk) -> None:
    made = await desk.join()
    identity = desk.identity
    session = await identity.sessions.find(made.token)
    assert session is not None
    desk.clock.now_s += 3_600
    with pytest.raises(WrongPassword):
        await identity.prove(made.token, session, "wrong password", HERE)
    fresh = await identity.prove(made.token, session, PASSWORD, HERE)
    assert await identity.sessions.find(made.token) is None
    proved = await identity.sessions.find(fresh)
    assert proved is not None
    assert (proved.id, proved.proved_us) == (session.id, desk.clock.wall_us())


async def test_a_new_password_ends_the_other_sessions(desk: Desk) -> None:
    made = await desk.join()
    identity = desk.identity
    other = await identity.sign_in("ann@example.com", PASSWORD, HERE)
    assert isinstance(other, SignedIn)
    session = await identity.sessions.find(made.token)
    assert session is not None
    with pytest.raises(WrongPassword):
        await identity.change_password(session, made.token, "wrong password", NEW, HERE)
    with pytest.raises(Refused):
        await identity.change_password(session, made.token, PASSWORD, "short", HERE)
    fresh = await identity.change_password(session, made.token, PASSWORD, NEW, HERE)
    assert await identity.sessions.find(fresh) is not None
    assert await identity.sessions.find(made.token) is None
    assert await identity.sessions.find(other.token) is None
    with pytest.raises(WrongPassword):
        await identity.sign_in("ann@example.com", PASSWORD, HERE)
    assert isinstance(await identity.sign_in("ann@example.com", NEW, HERE), SignedIn)


async def test_a_reset_by_mail(desk: Desk) -> None:
    made = await desk.join()
    identity = desk.identity
    before = len(_letters(desk))
    await identity.ask_reset("nobody@example.com", HERE)
    assert len(_letters(desk)) == before
    await identity.ask_reset("Ann@Example.com", HERE)
    assert isinstance(desk.mailbox, Mailbox)
    link = desk.mailbox.link()
    assert link.startswith("https://gw.example/en/reset/")
    token = link.rpartition("/")[2]
    for _ in range(PAIR.free):
        with pytest.raises(WrongPassword):
            await identity.sign_in("ann@example.com", "wrong password", HERE)
    with pytest.raises(Refused):
        await identity.reset(token, "ann@example.com")
    await identity.reset(token, NEW)
    with pytest.raises(NotThere):
        await identity.reset(token, NEW)
    assert await identity.sessions.find(made.token) is None
    assert isinstance(await identity.sign_in("ann@example.com", NEW, HERE), SignedIn)
    for wrong in ("", "x", "y" * 5000):
        with pytest.raises(NotThere):
            await identity.reset(wrong, NEW)


async def test_without_mail_an_operator_passes_the_link_on(database: Database) -> None:
    desk = Desk(database, no_mail())
    made = await desk.join()
    await desk.identity.ask_reset("ann@example.com", HERE)
    async with database.read() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM one_time_link"))).scalar() == 0
    link = await desk.identity.reset_link(made.user, by="cli:0")
    await desk.identity.reset(link.rpartition("/")[2], NEW)
    assert isinstance(await desk.identity.sign_in("ann@example.com", NEW, HERE), SignedIn)
    await desk.identity.close()


async def test_an_address_is_verified_by_its_link(desk: Desk) -> None:
    made = await desk.join()
    assert isinstance(desk.mailbox, Mailbox)
    token = desk.mailbox.link().rpartition("/")[2]
    assert made.user.email_verified_us is None
    verified = await desk.identity.verify(token)
    assert verified.email_verified_us == desk.clock.wall_us()
    with pytest.raises(NotThere):
        await desk.identity.verify(token)
    assert not await desk.identity.ask_verification(verified)


@pytest.mark.parametrize("mode", ["invite", "closed"])
async def test_who_may_sign_up(database: Database, mode: str) -> None:
    desk = Desk(database, Mailbox(), mode)
    identity = desk.identity
    with pytest.raises(Refused):
        await desk.join()
    link = await operators.welcome_link(identity.links, "https://gw.example")
    first = await identity.welcome(
        link.rpartition("/")[2], "op@example.com", "Op", PASSWORD, HERE, language="en"
    )
    [home] = await members.of_user(database, first.user.id)
    async with database.read() as conn:
        org = await rows.org_by_id(conn, home.org_id)
    assert org is not None
    by = By(people.actor(first.user.id), "owner")
    made = await identity.invite(
        org, email="ann@example.com", role="developer", by=by, inviter="Op", language="zh"
    )
    address = made.link
    assert made.mailed
    assert isinstance(desk.mailbox, Mailbox)
    assert desk.mailbox.link() == address
    assert address.startswith("https://gw.example/zh/invite/")
    found = await members.find_invitation(
        database, identity.links, address.rpartition("/")[2], now_us=desk.clock.wall_us()
    )
    joining = identity.sign_up(
        "ann@example.com", "Ann", PASSWORD, HERE, language="zh", invitation=found
    )
    if mode == "closed":
        with pytest.raises(Refused):
            await joining
    else:
        made = await joining
        [mine] = await members.of_user(database, made.user.id)
        assert (mine.org_id, mine.role) == (org.id, "developer")
    await identity.close()


async def test_the_operator_opens_and_closes_sign_up(database: Database) -> None:
    desk = Desk(database, Mailbox(), "closed")
    async with database.begin() as conn:
        await rows.replace_fact(conn, SIGN_UP, "open")
    await desk.join()
    async with database.begin() as conn:
        await rows.replace_fact(conn, SIGN_UP, "invite")
    with pytest.raises(Refused):
        await desk.join("bob@example.com")
    await desk.identity.close()


async def test_an_invitation_to_another_address_makes_no_account(desk: Desk) -> None:
    made = await desk.join()
    [home] = await members.of_user(desk.database, made.user.id)
    async with desk.database.read() as conn:
        org = await rows.org_by_id(conn, home.org_id)
    assert org is not None
    by = By(people.actor(made.user.id), "owner")
    made_invitation = await desk.identity.invite(
        org, email="bob@example.com", role="admin", by=by, inviter="Ann", language="en"
    )
    address = made_invitation.link
    found = await members.find_invitation(
        desk.database, desk.identity.links, address.rpartition("/")[2],
        now_us=desk.clock.wall_us(),
    )  # fmt: skip
    with pytest.raises(Refused):
        await desk.identity.sign_up(
            "eve@example.com", "Eve", PASSWORD, HERE, language="en", invitation=found
        )
    assert await people.find_by_email(desk.database, "eve@example.com") is None


async def test_the_welcome_link_makes_one_operator(desk: Desk) -> None:
    identity = desk.identity
    async with desk.database.begin() as conn:
        from tokenmarket.accounts import admin

        demo = await admin.create_org(
            conn, "demo", now_us=desk.clock.wall_us(), actor="test", kind="demo"
        )
    assert not await operators.has_operator(desk.database)
    token = (await operators.welcome_link(identity.links, "https://gw.example")).rpartition("/")[2]
    with pytest.raises(Refused):
        await identity.welcome(token, "op@example.com", "Op", "short", HERE, language="en")
    made = await identity.welcome(token, "op@example.com", "Op", PASSWORD, HERE, language="en")
    assert made.user.operator
    assert await operators.has_operator(desk.database)
    [home] = await members.of_user(desk.database, made.user.id)
    assert (home.org_id, home.role) == (demo.id, "owner")
    with pytest.raises(NotThere):
        await identity.welcome(token, "op2@example.com", "Op", PASSWORD, HERE, language="en")
    late = (await operators.welcome_link(identity.links, "https://gw.example")).rpartition("/")[2]
    desk.clock.now_s += 86_400
    with pytest.raises(NotThere):
        await identity.welcome(late, "op2@example.com", "Op", PASSWORD, HERE, language="en")


def _letters(desk: Desk):
    assert isinstance(desk.mailbox, Mailbox)
    return desk.mailbox.letters


async def test_one_source_cannot_make_accounts_without_end(desk: Desk) -> None:
    for number in range(SOURCE.free):
        await desk.join(f"u{number}@example.com")
    with pytest.raises(TooMany):
        await desk.join("more@example.com")
    assert await people.find_by_email(desk.database, "more@example.com") is None


async def test_sign_up_by_letter_tells_nobody_who_has_an_account(desk: Desk) -> None:
    identity, box = desk.identity, desk.mailbox
    assert isinstance(box, Mailbox)
    await identity.ask_sign_up(" New@Example.com ", HERE, language="zh")
    letter = box.letters[-1]
    assert (letter.to, letter.subject) == ("new@example.com", "创建您的账户")
    assert await people.find_by_email(desk.database, "new@example.com") is None
    token = box.link().rpartition("/")[2]
    with pytest.raises(Refused):
        await identity.join(token, "New", "short", HERE, language="zh")
    made = await identity.join(token, "New", PASSWORD, HERE, language="zh")
    assert made.user.email == "new@example.com"
    assert made.user.email_verified_us is not None
    [mine] = await members.of_user(desk.database, made.user.id)
    assert mine.role == "owner"
    for used in (token, token + "x", token.replace(".", ".1", 1), "", "x" * 5_000, "a.b.c"):
        with pytest.raises(NotThere):
            await identity.join(used, "Eve", PASSWORD, HERE, language="en")
    await identity.ask_sign_up("new@example.com", HERE, language="en")
    assert box.letters[-1].subject == "您已有账户"  # in the language of who has it
    assert box.link() == "https://gw.example/zh/sign-in"
    await people.set_disabled(
        desk.database, made.user.id, True, now_us=desk.clock.wall_us(), by="test"
    )
    count = len(box.letters)
    await identity.ask_sign_up("new@example.com", HERE, language="en")
    assert len(box.letters) == count
    with pytest.raises(Refused):
        await identity.ask_sign_up("no address", HERE, language="en")


async def test_a_sign_up_link_lasts_a_day_and_only_while_sign_up_is_open(desk: Desk) -> None:
    identity, box = desk.identity, desk.mailbox
    assert isinstance(box, Mailbox)
    await identity.ask_sign_up("late@example.com", HERE, language="en")
    token = box.link().rpartition("/")[2]
    async with desk.database.begin() as conn:
        await rows.replace_fact(conn, SIGN_UP, "invite")
    with pytest.raises(Refused):
        await identity.join(token, "Late", PASSWORD, HERE, language="en")
    with pytest.raises(Refused):
        await identity.ask_sign_up("late@example.com", HERE, language="en")
    async with desk.database.begin() as conn:
        await rows.forget(conn, SIGN_UP)
    desk.clock.now_s += 86_400
    with pytest.raises(NotThere):
        await identity.join(token, "Late", PASSWORD, HERE, language="en")
