"""Passwords: what one must be, and Argon2id on it in threads, at most two at once.

One hash takes 64 MiB and a third of a second on purpose, so it never runs on the event loop, and a
flood of sign-ins waits in a short queue and is then told to come back. ``verify`` takes as long for
an account that does not exist as for one that does.
"""

from __future__ import annotations

import asyncio
import functools
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from tokenmarket.accounts.admin import Refused
from tokenmarket.core.texts import N_

CHARS_MIN = 10
CHARS_MAX = 256
AT_ONCE = 2
WAITING_MAX = 30  # five seconds of work

_Result = TypeVar("_Result")


class Busy(Exception):
    """More passwords wait to be checked than can be soon; the caller may try again."""


class Passwords:
    """``close`` ends the threads. Tests hand in cheaper costs."""

    def __init__(self, *, time_cost: int = 3, memory_kib: int = 65_536) -> None:
        self._hasher = PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=1, type=Type.ID
        )
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="password")
        self._waiting = 0
        self._nobody = ""

    async def hash(self, password: str) -> str:
        """What is stored. Raises Busy."""
        return await self._run(functools.partial(self._hasher.hash, normalized(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """``stored`` None: there is no such account, found out no faster. Raises Busy."""
        return await self._run(functools.partial(self._matches, stored, normalized(password)))

    def is_outdated(self, stored: str) -> bool:
        """Whether ``stored`` was made with other costs than are asked for today."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        if self._waiting >= WAITING_MAX:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1

    def _matches(self, stored: str | None, password: str) -> bool:
        if stored is None:
            if not self._nobody:
                self._nobody = self._hasher.hash("nobody")
            self._against(self._nobody, password)
            return False
        return self._against(stored, password)

    def _against(self, stored: str, password: str) -> bool:
        if len(password) > CHARS_MAX:
            password = ""  # no stored password is that long; the time stays the same
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False


def checked_password(password: str, email: str) -> str:
    """The password to hash; raises Refused with what to write instead."""
    password = normalized(password)
    if len(password) < CHARS_MIN:
        raise Refused(N_("A password has at least 10 characters."))
    if len(password) > CHARS_MAX:
        raise Refused(N_("A password has at most 256 characters."))
    plain = password.casefold()
    if plain in {email.casefold(), email.partition("@")[0].casefold()}:
        raise Refused(N_("The password must not be the e-mail address."))
    if len(set(plain)) < 5:
        raise Refused(N_("This password is too easy to guess: use more different characters."))
    return password


def normalized(password: str) -> str:
    """The same characters typed on another keyboard are the same password."""
    return unicodedata.normalize("NFKC", password)
