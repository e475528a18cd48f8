"""Usage and cost of an organisation: tabs, chart, table, CSV; the same numbers in all of them."""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from starlette.responses import Response

from tokenmarket.core.csv_rows import CONTENT_TYPE
from tokenmarket.reports.asking import FILTER_WORDS, TIME_WORDS, Asked
from tokenmarket.reports.names import Names, namer, names_of
from tokenmarket.reports.usage import GROUPS, METRICS, Usage, usage
from tokenmarket.reports.usage_csv import usage_csv
from tokenmarket.web.pages.console.requests import read_filters
from tokenmarket.web.pages.drawn import metric_name, usage_chart
from tokenmarket.web.site.pages import Page
from tokenmarket.web.site.policy import member
from tokenmarket.web.site.visit import Visit

SHOWN_RANGES = ("7d", "30d", "90d")


async def page(visit: Visit) -> Response:
    """``by`` is the group, ``metric`` what the chart shows."""
    org_id = visit.params["org"]
    asked, problems = read_filters(visit, "30d")
    group = _one_of(visit.query.get("by", ""), GROUPS, "day")
    metric = _one_of(visit.query.get("metric", ""), METRICS, "charge")
    async with visit.parts.database.read() as conn:
        names = await names_of(conn, org_id)
    await visit.parts.wallet.flush()
    report = await usage(visit.parts.database, org_id, asked, group, names, metric)
    base = visit.url("@/usage")

    def link(**changes: str) -> str:
        query = _query(visit, **{"by": group, "metric": metric, **changes})
        return f"{base}?{query}"

    return await visit.render(
        "console/usage.html",
        nav="usage",
        asked=asked,
        problems=problems,
        group=group,
        group_title=group_name(visit, group),
        row_links=_row_links(visit, asked, report),
        report=report,
        names=names,
        label=namer(group, names, visit._),
        drawn=usage_chart(visit, report, metric, namer(group, names, visit._)),
        tabs=[(group_name(visit, one), link(by=one), one == group) for one in GROUPS],
        metrics=[(metric_name(visit, one), link(metric=one), one == metric) for one in METRICS],
        ranges=[
            (text, link(range=name, **{"from": "", "to": ""}), asked.span.name == name)
            for name, text in zip(
                SHOWN_RANGES,
                [visit.n_("{n} day", "{n} days", days) for days in (7, 30, 90)],
                strict=True,
            )
        ],
        csv=f"{visit.url('@/usage/csv')}?{_query(visit, by=group)}",
        kept=[(name, visit.query.get(name, "")) for name in (*FILTER_WORDS, "by", "metric")],
        narrowed=_narrowed(visit, asked, names),
        clear=link(**dict.fromkeys(FILTER_WORDS, "")),
    )


async def csv(visit: Visit) -> Response:
    """The same as a file."""
    org_id = visit.params["org"]
    asked, _ = read_filters(visit, "30d")
    group = _one_of(visit.query.get("by", ""), GROUPS, "day")
    async with visit.parts.database.read() as conn:
        names = await names_of(conn, org_id)
    await visit.parts.wallet.flush()
    report = await usage(visit.parts.database, org_id, asked, group, names)
    span = asked.span
    text = await asyncio.to_thread(usage_csv, report, namer(group, names, visit._))
    return visit.file(text, CONTENT_TYPE, f"usage-{span.first_day}-{span.last_day}.csv")


def _row_links(visit: Visit, asked: Asked, report: Usage) -> dict[str, str]:
    """From each group to its requests; "" where there is no such filter."""
    base = visit.url("@/requests")
    words = {name: visit.query.get(name, "") for name in (*TIME_WORDS, *FILTER_WORDS)}
    if not words["from"] and not words["to"]:
        words["range"] = asked.span.name
    found: dict[str, str] = {}
    for row in report.rows:
        if report.group == "day":
            changes = {"range": "", "from": row.name, "to": row.name}
        else:
            changes = {report.group: row.name}
        values = {name: value for name, value in (words | changes).items() if value}
        found[row.name] = f"{base}?{urlencode(values)}" if row.name else ""
    return found


def group_name(visit: Visit, group: str) -> str:
    """The text of a tab."""
    return {
        "day": visit._("Day"),
        "model": visit._("Model"),
        "key": visit._("API key"),
        "member": visit._("Member"),
        "team": visit._("Team"),
        "provider": visit._("Provider"),
        "operation": visit.p_("request", "Operation"),
    }[group]


def _narrowed(visit: Visit, asked: Asked, names: Names) -> list[str]:
    """What usage is narrowed to, in words."""
    texts = [
        (visit._("Model"), asked.model),
        (visit._("Provider"), asked.provider),
        (visit._("API key"), names.key_name(asked.key)),
        (visit._("Member"), names.members.get(asked.member, asked.member)),
        (visit._("Team"), names.teams.get(asked.team, asked.team)),
        (visit.p_("request", "Operation"), asked.operation),
    ]
    return [f"{name}: {value}" for name, value in texts if value]


def _query(visit: Visit, **changes: str) -> str:
    values = {name: visit.query.get(name, "") for name in (*TIME_WORDS, *FILTER_WORDS)} | changes
    return urlencode({name: value for name, value in values.items() if value})


def _one_of(value: str, known: tuple[str, ...], default: str) -> str:
    return value if value in known else default


PAGES = [
    Page("/{lang}/console/{org}/usage", page, member("view")),
    Page("/{lang}/console/{org}/usage/csv", csv, member("view")),
]
