"""Templates: one Jinja environment, drawn in a thread of its own.

A page costs about ten milliseconds of Python; on the event loop it would hold up every request
that is being relayed. Macros see the visitor through ``_visit``, a variable of the drawing thread,
so that they can be imported without context.

A page asked for with ``X-Fragment: 1`` is drawn with layouts that hold nothing but its block
``fragment``: filter results and drawers without the frame around them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jinja2 import ChoiceLoader, DictLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from tokenmarket.core.roles import may
from tokenmarket.web.site import formats
from tokenmarket.web.site.assets import Assets

if TYPE_CHECKING:
    from tokenmarket.web.site.visit import Visit

LAYOUTS = ("public.html", "console.html", "admin.html", "docs.html", "plain.html")
_visit: ContextVar[Visit] = ContextVar("visit")


class Drawing:
    """Draws templates of ``web/templates`` for a Visit."""

    def __init__(self, assets: Assets) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="pages")
        loader = PackageLoader("tokenmarket.web", "templates")
        self._pages = _environment(loader, assets)
        bare = DictLoader(dict.fromkeys(LAYOUTS, "{{ self.fragment() }}"))
        self._fragments = _environment(ChoiceLoader([bare, loader]), assets)

    async def draw(self, visit: Visit, template: str, context: Mapping[str, object]) -> str:
        """The page as text. Raises what Jinja raises."""
        environment = self._fragments if visit.fragment else self._pages
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(
            self._thread, _draw, environment, visit, template, context
        )

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)


def _draw(
    environment: Environment, visit: Visit, template: str, context: Mapping[str, object]
) -> str:
    token = _visit.set(visit)
    try:
        return environment.get_template(template).render(visit=visit, **context)
    finally:
        _visit.reset(token)


def _environment(loader: PackageLoader | ChoiceLoader, assets: Assets) -> Environment:
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.globals.update(_texts())
    environment.globals.update(_numbers())
    ours: dict[str, Any] = {"static": assets.url, "icon": _icon(assets), "may": may, "csrf": _csrf}
    environment.globals.update(ours)
    return environment


def _texts() -> dict[str, Callable[..., Any]]:
    def text(english: str, /, **values: object) -> str:
        visit = _visit.get()
        return _with_markup(lambda plain: visit._(english, **plain), values)

    def count(one: str, many: str, n: int, /, **values: object) -> str:
        visit = _visit.get()
        return _with_markup(lambda plain: visit.n_(one, many, n, **plain), values)

    def in_context(context: str, english: str, /, **values: object) -> str:
        visit = _visit.get()
        return _with_markup(lambda plain: visit.p_(context, english, **plain), values)

    def url(path: str) -> str:
        return _visit.get().url(path)

    return {"_": text, "n_": count, "p_": in_context, "u": url}


def _with_markup(say: Callable[[dict[str, object]], str], values: dict[str, object]) -> str:
    """A text into which HTML of ours (a time) is put: all else of it is escaped, once."""
    marked = {name: value for name, value in values.items() if isinstance(value, Markup)}
    if not marked:
        return say(values)
    places = {name: f"\ue000{number}\ue001" for number, name in enumerate(marked)}
    found = escape(say({**values, **places}))
    for name, value in marked.items():
        found = found.replace(places[name], value)  # Markup stays as it is
    return found


def _numbers() -> dict[str, Callable[..., Any]]:
    def dt(us: int) -> Markup:
        zone = _visit.get().time_zone
        return Markup('<time datetime="{}">{}</time>').format(
            formats.iso(zone, us), formats.moment(zone, us)
        )

    def day(us: int) -> Markup:
        zone = _visit.get().time_zone
        return Markup('<time datetime="{}">{}</time>').format(
            formats.iso(zone, us), formats.day(zone, us)
        )

    def ago(us: int) -> str:
        visit = _visit.get()
        seconds = max(0, (visit.now_us - us) // 1_000_000)
        if seconds < 60:
            return visit._("just now")
        if seconds < 3600:
            return visit.n_("{n} minute ago", "{n} minutes ago", seconds // 60)
        if seconds < 86_400:
            return visit.n_("{n} hour ago", "{n} hours ago", seconds // 3600)
        return visit.n_("{n} day ago", "{n} days ago", seconds // 86_400)

    def in_language(form: Callable[..., str]) -> Callable[..., str]:
        def bound(*values: Any) -> str:
            return form(_visit.get().lang, *values)

        return bound

    def year() -> int:
        return datetime.fromtimestamp(_visit.get().now_us / 1_000_000, UTC).year

    def code_language() -> str:
        return _visit.get().request.cookies.get("tm_code", "curl")

    return {
        "money": in_language(formats.money),
        "num": in_language(formats.number),
        "compact": in_language(formats.compact),
        "ms": in_language(formats.milliseconds),
        "bytes_": in_language(formats.size),
        "percent": in_language(formats.percent),
        "year": year,
        "code_language": code_language,
        "dt": dt,
        "day": day,
        "ago": ago,
    }


def _icon(assets: Assets) -> Callable[..., Markup]:
    def icon(name: str, css: str = "") -> Markup:
        """A symbol of the sprite; decoration, so screen readers skip it."""
        return Markup('<svg class="i {}" aria-hidden="true"><use href="{}#{}"/></svg>').format(
            css, assets.url("icons.svg"), name
        )

    return icon


def _csrf() -> Markup:
    return Markup('<input type="hidden" name="csrf" value="{}">').format(escape(_visit.get().csrf))
