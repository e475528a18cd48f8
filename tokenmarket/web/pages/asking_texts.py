"""The sentences of ``reports.asking.BadFilter``, marked for translation: that package knows nothing
of languages. A test holds them to what is raised."""

from __future__ import annotations

from tokenmarket.web.site.i18n import N_

SENTENCES = frozenset(
    (
        N_("There is no such status."),
        N_("The first day is after the last one."),
        N_("At most 400 days at once."),
        N_("There is no such range of time."),
        N_("Write a day as 2026-11-23."),
        N_("That is too long."),
        N_("Write an amount in USD, as 0.05."),
        N_("Write seconds, as 2.5."),
        N_("That is no cursor of ours."),
    )
)
