"""Numbers, money and times as people read them, and who a path belongs to."""

from zoneinfo import ZoneInfo

import pytest
from babel.numbers import format_decimal
from hypothesis import given
from hypothesis import strategies as st

from tokenmarket.core.wire import Inbound
from tokenmarket.web.site import formats
from tokenmarket.web.site.doors import is_page
from tokenmarket.web.site.i18n import LOCALE
from tokenmarket.web.site.visit import local_path

SHANGHAI = ZoneInfo("Asia/Shanghai")
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("nano", "digits", "shown"),
    [
        (0, None, "$0.00"),
        (1, None, "$0.000000001"),
        (1_500_000_000, None, "$1.50"),
        (-1_234_567_800_000, None, "−$1,234.5678"),
        (1_999_999_999, 2, "$2.00"),
        (4_999_999, 2, "$0.00"),
        (5_000_000, 2, "$0.01"),
        (1_499_999_999, 0, "$1"),
    ],
)
def test_money(nano: int, digits: int | None, shown: str) -> None:
    assert formats.money("en", nano, digits) == shown
    assert formats.money("zh", nano, digits) == shown.replace("$", "US$")


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_money_without_digits_loses_nothing(nano: int) -> None:
    text = formats.money("en", nano).replace("$", "").replace(",", "").replace("−", "-")
    whole, _, part = text.removeprefix("-").partition(".")
    assert int(whole) * 10**9 + int(part.ljust(9, "0")) == abs(nano)
    assert text.startswith("-") == (nano < 0)


def test_times_are_those_of_the_zone_across_a_change_of_the_clock() -> None:
    us = 1_793_509_200_000_000  # 2026-11-01T05:00:00Z, an hour before New York's clocks go back
    assert formats.moment(SHANGHAI, us) == "2026-11-01 13:00:00"
    assert formats.iso(NEW_YORK, us) == "2026-11-01T01:00:00-04:00"
    assert formats.iso(NEW_YORK, us + 3_600_000_000) == "2026-11-01T01:00:00-05:00"
    assert formats.day(NEW_YORK, us - 3_600_000_001) == "2026-10-31"


def test_unknown_is_a_dash_and_not_a_zero() -> None:
    assert formats.milliseconds("en", None) == "—"
    assert formats.milliseconds("en", 0) == "0 ms"
    assert formats.milliseconds("zh", 12_440) == "12.4 s"
    assert formats.percent("en", None) == "—"
    assert formats.percent("en", 0.9991, 2) == "99.91%"


def test_large_numbers_are_short_in_both_languages() -> None:
    assert formats.compact("en", 412_600_000) == "412.6M"
    assert formats.compact("zh", 412_600_000) == "4.1亿"
    assert formats.compact("en", 9_999) == "9,999"


@pytest.mark.parametrize(
    ("path", "good"),
    [
        ("/en/console/org_1?x=1", True),
        ("//evil.example/", False),
        ("/\\evil.example", False),
        ("/en/\\..", False),
        ("https://evil.example/", False),
        ("javascript:alert(1)", False),
        ("/en/\r\nset-cookie: a=b", False),
        ("", False),
    ],
)
def test_only_paths_of_this_site_are_followed(path: str, good: bool) -> None:
    assert (local_path(path) == path) is good


@pytest.mark.parametrize(
    ("method", "path", "accept", "page"),
    [
        ("GET", "/", b"", True),
        ("GET", "/en/models", b"", True),
        ("POST", "/zh/sign-in", b"", True),
        ("GET", "/static/css/app.css", b"text/css", True),
        ("GET", "/nothing", b"text/html,*/*", True),
        ("GET", "/nothing", b"*/*", False),
        ("GET", "/api/v1/models", b"text/html", False),
        ("GET", "/v1/models", b"application/json", False),
        ("POST", "/nothing", b"text/html", False),
        ("GET", "/metrics", b"text/html", False),
        ("GET", "/files/x", b"text/html", False),
        ("GET", "/english", b"", False),
    ],
)
def test_who_is_a_person(method: str, path: str, accept: bytes, page: bool) -> None:
    headers = {b"accept": accept} if accept else {}
    inbound = Inbound("req_1", method, path, b"", headers, b"", "127.0.0.1", 0, 0)
    assert is_page(inbound) is page


@pytest.mark.parametrize("value", [0, -7, 999, 1_000, -1_234_567, 10**15])
def test_whole_numbers_are_grouped_as_babel_does(value: int) -> None:
    for lang, locale in LOCALE.items():
        assert formats.number(lang, value) == format_decimal(value, locale=locale)
        shown = formats.money(lang, abs(value) * 10**9, 0)
        assert shown == formats.SIGN[lang] + format_decimal(abs(value), locale=locale)
