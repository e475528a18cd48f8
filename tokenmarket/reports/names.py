"""Names of an organisation's keys, members and teams, and which keys are whose."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from tokenmarket.core.texts import N_
from tokenmarket.reports.asking import Asked
from tokenmarket.store import report_names
from tokenmarket.store.database import Connection
from tokenmarket.store.report_names import KeyName
from tokenmarket.store.usage_rollup import Filters

_NOBODY_NAMES = {
    "member": N_("Keys made by programs"),
    "team": N_("Without a team"),
    "model": N_("Unknown model"),
    "day": N_("Unknown model"),
    "provider": N_("Not sent to a provider"),
}
NOBODY = ""  # the member of a key that the operator's command line made; the team of one without


class Names(NamedTuple):
    """By id, in the order of names. A key belongs to the member who made it."""

    keys: dict[str, KeyName]
    members: dict[str, str]
    teams: dict[str, str]

    def member_of(self, key_id: str) -> str:
        """The user id; NOBODY."""
        key = self.keys.get(key_id)
        return (key.maker or "").removeprefix("user:") if key is not None and is_person(key) else ""

    def team_of(self, key_id: str) -> str:
        """The team id; NOBODY."""
        key = self.keys.get(key_id)
        return (key.team_id or NOBODY) if key is not None else NOBODY

    def key_name(self, key_id: str) -> str:
        """Its name; its id if there is no such key any more."""
        key = self.keys.get(key_id)
        return key.name if key is not None and key.name else key_id


def namer(group: str, names: Names, said: Callable[[str], str] = str) -> Callable[[str], str]:
    """From the id of a group of usage to what people call it; ``said`` translates what has no name
    of its own."""

    def name(one: str) -> str:
        if one == NOBODY:
            return said(_NOBODY_NAMES[group]) if group in _NOBODY_NAMES else "—"
        if group == "key":
            return names.key_name(one)
        if group == "member":
            return names.members.get(one, one)
        return names.teams.get(one, one) if group == "team" else one

    return name


def is_person(key: KeyName) -> bool:
    """Whether a person made it, not a program."""
    return key.maker is not None and key.maker.startswith("user:")


async def names_of(conn: Connection, org_id: str) -> Names:
    """All of one organisation."""
    return Names(
        {key.id: key for key in await report_names.key_names(conn, org_id)},
        await report_names.member_names(conn, org_id),
        await report_names.team_names(conn, org_id),
    )


def filters_of(asked: Asked, names: Names | None, models: tuple[str, ...]) -> Filters:
    """``models``: those that the text of the search means. Without names (the operator, over all
    organisations) a member or team matches nothing."""
    keys: set[str] | None = {asked.key} if asked.key else None
    if asked.member:
        keys = _both(keys, names, asked.member, Names.member_of)
    if asked.team:
        keys = _both(keys, names, asked.team, Names.team_of)
    return Filters(
        models=(asked.model,) if asked.model else models,
        providers=(asked.provider,) if asked.provider else (),
        keys=None if keys is None else tuple(sorted(keys)),
        operations=(asked.operation,) if asked.operation else (),
        statuses=(asked.status,) if asked.status else (),
        error_codes=(asked.error,) if asked.error else (),
    )


def _both(
    keys: set[str] | None, names: Names | None, wanted: str, owner: Callable[[Names, str], str]
) -> set[str]:
    """Those of ``keys`` (None: of all) that belong to ``wanted``."""
    if names is None:
        return set()
    theirs = {key_id for key_id in names.keys if owner(names, key_id) == wanted}
    return theirs if keys is None else keys & theirs
