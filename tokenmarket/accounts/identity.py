"""How people come in: sign-in with password and code, proof again, reset, sign-up, first operator.

One ``Identity`` per process; pages and endpoints ask it and nothing else about secrets of people.
What a reader must know:

* Answers about accounts are generic: a wrong password, no such account and a suspended one raise
  the same ``WrongPassword`` after the same time; asking for a reset answers nothing at all.
* Between password and code stands a ``second_factor`` link (``accounts/links.py``): it opens
  nothing by itself and lasts ten minutes.
* Every way in makes a new session; a new password ends all others.
* With a mail server, sign-up tells nobody whether an address has an account: the form answers the
  same at once, and the letter says which of the two it is (``ask_sign_up``, then ``join``). The
  account is made by whoever reads that address' mail, so nobody can take an address in advance.
* Without a mail server an open sign-up makes the account at once and therefore does tell. It is
  the operator's choice to open it (the default is by invitation); it is throttled by source.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tokenmarket.accounts import facts, letters, links, members, people
from tokenmarket.accounts.admin import NotThere, Refused, Taken
from tokenmarket.accounts.facts import SignUp
from tokenmarket.accounts.links import Links, Spent
from tokenmarket.accounts.members import Invitation, InvitationRow
from tokenmarket.accounts.passwords import Passwords, checked_password
from tokenmarket.accounts.second_factor import SecondFactor
from tokenmarket.accounts.sessions import Session, Sessions
from tokenmarket.accounts.sign_up_links import SignUpLinks
from tokenmarket.accounts.throttle import Throttle
from tokenmarket.billing.clock import Clock
from tokenmarket.core import sealing
from tokenmarket.core.sealing import Root
from tokenmarket.core.texts import N_
from tokenmarket.mail import Mail
from tokenmarket.store import accounts as rows
from tokenmarket.store import people as people_rows
from tokenmarket.store.accounts import OrgRow
from tokenmarket.store.database import Connection, Database
from tokenmarket.store.people import User


class WrongPassword(Exception):
    """The address and the password do not belong together, or the code is wrong."""


class From(msgspec.Struct, frozen=True):
    """Where a request of a person comes from."""

    address: str
    agent: str


class SignedIn(msgspec.Struct, frozen=True):
    """``token`` is the cookie of a new session."""

    token: str
    user: User

    def __repr__(self) -> str:
        return f"SignedIn({self.user.id}, ***)"


class NeedsCode(msgspec.Struct, frozen=True):
    """The password was right; ``pending`` goes back with the code."""

    pending: str

    def __repr__(self) -> str:
        return "NeedsCode(***)"


class Invited(msgspec.Struct, frozen=True):
    """``link`` is stored nowhere; ``mailed``: it was handed to the mail server too."""

    row: InvitationRow
    link: str
    mailed: bool


class Identity:
    """``base_url`` gives the address of the site, without a slash at the end, for links."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        root: Root,
        mail: Mail,
        *,
        sign_up: SignUp,
        base_url: Callable[[], str],
        sessions: Sessions | None = None,
        passwords: Passwords | None = None,
    ) -> None:
        self._sign_up_configured: SignUp = sign_up
        self.mail = mail
        self.passwords = passwords or Passwords()
        self.sessions = sessions or Sessions(database, clock, root.derive(sealing.SESSIONS))
        self.links = Links(database, clock, root.derive(sealing.LINKS))
        self.sign_up_links = SignUpLinks(clock, root.derive(sealing.SIGN_UP_LINKS))
        self.second_factor = SecondFactor(database, clock, root)
        self.throttle = Throttle(clock)
        self._database = database
        self._clock = clock
        self._base_url = base_url

    async def sign_up_mode(self) -> SignUp:
        """Who may make an account now."""
        async with self._database.read() as conn:
            return await facts.sign_up(conn, self._sign_up_configured)

    async def close(self) -> None:
        await self.mail.close()
        self.passwords.close()

    # ------------------------------------------------------------------------------------ sign in

    async def sign_in(self, email: str, password: str, came: From) -> SignedIn | NeedsCode:
        """Raises WrongPassword, TooMany, Busy."""
        address = people.comparable(email)[: people.EMAIL_CHARS_MAX]
        self.throttle.begin("password", address, came.address)
        async with self._database.read() as conn:
            found = await people_rows.person_by_email(conn, address)
        right = await self.passwords.verify(None if found is None else found[1], password)
        if found is None or not right or found[0].disabled_at_s is not None:
            raise WrongPassword
        user, stored = found
        self.throttle.succeeded("password", address, came.address)
        if self.passwords.is_outdated(stored):
            await self._store_password(user, await self.passwords.hash(password))
        if user.has_totp:
            return NeedsCode(
                await self.links.make("second_factor", user.id, lifetime_s=links.SECOND_FACTOR_S)
            )
        return await self._let_in(user, came)

    async def give_code(self, pending: str, code: str, came: From) -> SignedIn:
        """Raises WrongPassword; NotThere when ``pending`` is over: sign in again; TooMany."""
        link = await self.links.find("second_factor", pending)
        if link is None:
            raise NotThere(N_("The sign-in took too long. Start again."))
        user = await people.find(self._database, link.user_id)
        self.throttle.begin("code", user.id, came.address)
        if not await self.second_factor.check(user.id, code) or user.disabled_at_s is not None:
            raise WrongPassword
        self.throttle.succeeded("code", user.id, came.address)
        await self._spend(link)
        return await self._let_in(user, came)

    async def prove(self, token: str, session: Session, secret: str, came: From) -> str:
        """The password, or a code, once more (step-up); returns the session's new token.

        Raises WrongPassword, TooMany, Busy.
        """
        user = session.user
        self.throttle.begin("password", user.email, came.address)
        if not await self._is_secret_of(user, secret):
            raise WrongPassword
        self.throttle.succeeded("password", user.email, came.address)
        fresh = await self.sessions.rotate(token, proved=True)
        if fresh is None:
            raise WrongPassword
        return fresh

    async def change_password(
        self, session: Session, token: str, old: str, new: str, came: From
    ) -> str:
        """A new password; all other sessions end, this one gets the token that is returned.

        Raises Refused, WrongPassword, TooMany, Busy.
        """
        user = session.user
        checked = checked_password(new, user.email)
        self.throttle.begin("password", user.email, came.address)
        if not await self.passwords.verify(await self._password_hash(user.id), old):
            raise WrongPassword
        self.throttle.succeeded("password", user.email, came.address)
        hashed = await self.passwords.hash(checked)
        await self._store_password(user, hashed, by=people.actor(user.id))
        await self.sessions.close_all(user.id, but=session.id)
        fresh = await self.sessions.rotate(token, proved=True)
        if fresh is None:
            raise WrongPassword
        self._write(user, "password_changed", "/forgot")
        return fresh

    # -------------------------------------------------------------------------------------- reset

    async def ask_reset(self, email: str, came: From) -> None:
        """Mail a link if there is such an account and a mail server; tells nothing. TooMany."""
        address = people.comparable(email)[: people.EMAIL_CHARS_MAX]
        self.throttle.begin("reset", address, came.address)
        user = await people.find_by_email(self._database, address)
        if user is not None and user.disabled_at_s is None and self.mail.is_set:
            token = await self.links.make("reset", user.id, lifetime_s=links.RESET_S)
            self._write(user, "reset", f"/reset/{token}")

    async def reset_link(self, user: User, *, by: str) -> str:
        """A link that an operator passes on by hand; only for operators and the machine."""
        token = await self.links.make("reset", user.id, lifetime_s=links.RESET_BY_HAND_S)
        async with self._database.begin() as conn:
            now_us = self._clock.wall_us()
            await rows.append_audit(conn, now_us, by, "user.reset_link", user.id, {})
        return self._url(user.language, f"/reset/{token}")

    async def reset(self, token: str, password: str) -> User:
        """Set a new password by a link; all sessions end. Raises NotThere, Refused, Busy."""
        link = await self.links.find("reset", token)
        if link is None:
            raise NotThere(N_("This link has been used or is too old."))
        user = await people.find(self._database, link.user_id)
        hashed = await self.passwords.hash(checked_password(password, user.email))
        await self._spend(link)
        await self._store_password(user, hashed, by=people.actor(user.id))
        await self.sessions.close_all(user.id)
        self.throttle.forgive("password", user.email)
        return user

    # ------------------------------------------------------------------------------------ sign up

    async def sign_up(
        self,
        email: str,
        name: str,
        password: str,
        came: From,
        *,
        language: str,
        invitation: Invitation | None = None,
    ) -> SignedIn:
        """A new account, signed in: member of who invited it, or owner of a new organisation (for
        which pages ask ``ask_sign_up`` if there is a mail server).

        Raises Refused, Taken, TooMany, Busy; NotThere if the invitation is over.
        """
        await self._check_open(invitation)
        self.throttle.begin_from("sign-up", came.address)
        address = people.checked_email(email)
        hashed = await self.passwords.hash(checked_password(password, address))
        now_us = self._clock.wall_us()
        async with self._database.begin() as conn:
            user = await people.create(
                conn, address, name, hashed, now_us=now_us, language=language
            )
            if invitation is None:
                await members.create_first_org(conn, user, now_us=now_us)
            else:
                await members.accept(conn, invitation, user, now_us=now_us)
        await self.ask_verification(user)
        return await self._let_in(user, came)

    async def ask_sign_up(self, email: str, came: From, *, language: str) -> None:
        """Mail a link to make an account, or that there is one; the answer is the same after the
        same time. Raises Refused (for what is no address), TooMany."""
        await self._check_open(None)
        address = people.checked_email(email)
        self.throttle.begin("sign-up", address, came.address)
        link = self._url(language, f"/sign-up/{self.sign_up_links.make(address)}")
        user = await people.find_by_email(self._database, address)
        if user is None:
            self.mail.post(letters.letter("sign_up", address, language, link=link))
        elif user.disabled_at_s is None:
            self._write(user, "has_account", "/sign-in")

    async def join(
        self, token: str, name: str, password: str, came: From, *, language: str
    ) -> SignedIn:
        """A new account by the link of ``ask_sign_up``, owner of a new organisation, its address
        proved. Raises NotThere for a link that was used or is too old, Refused, Busy."""
        await self._check_open(None)
        address = self.sign_up_links.find(token)
        if address is None:
            raise NotThere(N_("This link has been used or is too old."))
        hashed = await self.passwords.hash(checked_password(password, address))
        now_us = self._clock.wall_us()
        try:
            async with self._database.begin() as conn:
                user = await people.create(
                    conn, address, name, hashed, now_us=now_us, language=language, verified=True
                )
                await members.create_first_org(conn, user, now_us=now_us)
        except Taken as error:  # by this link, or by an invitation in the meantime
            raise NotThere(N_("This link has been used or is too old.")) from error
        return await self._let_in(user, came)

    async def _check_open(self, invitation: Invitation | None) -> None:
        mode = await self.sign_up_mode()
        if mode == "closed" or (mode == "invite" and invitation is None):
            raise Refused(N_("Sign-up is closed here. Ask an administrator for an invitation."))

    async def ask_verification(self, user: User) -> bool:
        """Mail the link that proves the address; False without a mail server."""
        if not self.mail.is_set or user.email_verified_us is not None:
            return False
        token = await self.links.make("verify", user.id, lifetime_s=links.VERIFY_S)
        self._write(user, "verify", f"/verify/{token}")
        return True

    async def verify(self, token: str) -> User:
        """The address belongs to the person. Raises NotThere."""
        link = await self.links.find("verify", token)
        if link is None:
            raise NotThere(N_("This link has been used or is too old."))
        await self._spend(link)
        now_us = self._clock.wall_us()
        async with self._database.begin() as conn:
            await people_rows.change_person(conn, link.user_id, email_verified_us=now_us)
            by = people.actor(link.user_id)
            await rows.append_audit(conn, now_us, by, "user.verify", link.user_id, {})
        self.sessions.forget(link.user_id)
        return await people.find(self._database, link.user_id)

    async def invite(
        self, org: OrgRow, *, email: str, role: str, by: members.By, inviter: str, language: str
    ) -> Invited:
        """``inviter`` is a name. Raises Refused, Taken."""
        now_us = self._clock.wall_us()
        token, row = await members.invite(
            self._database, self.links, org.id, email=email, role=role, by=by, now_us=now_us
        )
        link = self._url(language, f"/invite/{token}")
        if self.mail.is_set:
            self.mail.post(
                letters.letter(
                    "invitation", row.email, language, org=org.name, inviter=inviter, link=link
                )
            )
        return Invited(row, link, self.mail.is_set)

    # ------------------------------------------------------------------------------ first operator

    async def welcome(
        self, token: str, email: str, name: str, password: str, came: From, *, language: str
    ) -> SignedIn:
        """A new operator by the link of ``accounts/operators.py``, owner of the demo organisation
        or of a new one.

        Raises NotThere, Refused, Taken, Busy.
        """
        link = await self.links.find("welcome", token)
        if link is None:
            raise NotThere(N_("This link has been used or is too old."))
        address = people.checked_email(email)
        hashed = await self.passwords.hash(checked_password(password, address))
        now_us = self._clock.wall_us()
        try:
            async with self._database.begin() as conn:
                await self.links.use(conn, link)
                user = await people.create(
                    conn, address, name, hashed, now_us=now_us, operator=True, language=language
                )
                await _give_home(conn, user, now_us)
        except Spent as error:
            raise NotThere(N_("This link has been used or is too old.")) from error
        return await self._let_in(user, came)

    # ------------------------------------------------------------------------------------ details

    async def _let_in(self, user: User, came: From) -> SignedIn:
        token = await self.sessions.open(user.id, address=came.address, agent=came.agent)
        async with self._database.begin() as conn:
            detail: dict[str, object] = {"address": came.address}
            by = people.actor(user.id)
            await rows.append_audit(
                conn, self._clock.wall_us(), by, "user.sign_in", user.id, detail
            )
        return SignedIn(token, user)

    async def _is_secret_of(self, user: User, secret: str) -> bool:
        if user.has_totp and await self.second_factor.check(user.id, secret):
            return True
        return await self.passwords.verify(await self._password_hash(user.id), secret)

    async def _password_hash(self, user_id: str) -> str | None:
        async with self._database.read() as conn:
            found = await people_rows.person_by_id(conn, user_id)
        return None if found is None else found[1]

    async def _store_password(self, user: User, hashed: str, *, by: str = "") -> None:
        """Without ``by`` it is the same password under today's costs, and no event."""
        async with self._database.begin() as conn:
            await people_rows.change_person(conn, user.id, password_hash=hashed)
            if by:
                now_us = self._clock.wall_us()
                await rows.append_audit(conn, now_us, by, "user.password", user.id, {})

    async def _spend(self, link: links.LinkRow) -> None:
        try:
            async with self._database.begin() as conn:
                await self.links.use(conn, link)
        except Spent as error:
            raise NotThere(N_("This link has been used or is too old.")) from error

    def _write(self, user: User, kind: str, path: str) -> None:
        if self.mail.is_set:
            link = self._url(user.language, path)
            self.mail.post(letters.letter(kind, user.email, user.language, link=link))

    def _url(self, language: str, path: str) -> str:
        return f"{self._base_url()}/{language}{path}"


async def _give_home(conn: Connection, user: User, now_us: int) -> None:
    """The demo organisation if there is one, else a new one."""
    for org in await rows.orgs(conn):
        if org.kind == "demo":
            by = people.actor(user.id)
            await members.add_owner(conn, org.id, user.id, now_us=now_us, by=by)
            return
    await members.create_first_org(conn, user, now_us=now_us)
