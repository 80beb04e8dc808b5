"""What the managers' page shows, read out of its elements, and what it should show, in Python's own words."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.chromium import Tab

_SHOWN = """
(() => {
  const cell = (element) => {
    const inner = element.querySelector('data, time');
    return [inner?.getAttribute('value') ?? inner?.getAttribute('datetime') ?? null, element.textContent.trim()];
  };
  const keyed = (selector, of) =>
    Object.fromEntries([...document.querySelectorAll(selector)].map((one) =>
      [one.dataset.key.split(' ').pop(), of(one)]));
  const columns = [...document.querySelectorAll('#children thead button')].map((one) => one.dataset.sort);
  return {
    title: document.querySelector('h1')?.firstChild.data ?? '',
    state: document.querySelector('[data-state]')?.dataset.state ?? '',
    tiles: keyed('.tiles > div', (one) => cell(one.querySelector('dd'))),
    own: keyed('.tiles > div', (one) => one.querySelector('.own')?.textContent ?? ''),
    children: keyed('#children tbody tr', (row) =>
      Object.fromEntries([...row.children].map((one, at) => [columns[at], cell(one)]))),
    order: [...document.querySelectorAll('#children tbody tr')].map((row) => row.dataset.key.split(' ').pop()),
    sections: keyed('section', (one) =>
      [...one.querySelectorAll('tbody tr')].map((row) => [...row.children].map(cell))),
    days: Object.fromEntries([...document.querySelectorAll('#days tbody tr')].map((row) =>
      [row.dataset.key, [...row.children].slice(1).map(cell)])),
  };
})()
"""
NO_NUMBERS = "!document.querySelector('main data, main table, main svg, .tiles')"
"""True in a page without a single number, table or chart."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a page shows."""

    title: str
    state: str
    tiles: dict[str, list[Any]]
    own: dict[str, str]
    children: dict[str, dict[str, list[Any]]]
    order: list[str]
    sections: dict[str, list[list[list[Any]]]]
    days: dict[str, list[list[Any]]]


async def shown_by(tab: Tab) -> Shown:
    """What the page shows now."""
    return Shown(**(await tab.evaluate(_SHOWN)))


def number_in(language: str, value: Decimal | int | str) -> str:
    """A number as people write it: 12,345.50 in English; in Spanish 12.345,50, and 1234 without a point.

    >>> number_in("es", "1234"), number_in("es", "12345.50"), number_in("en", 1234)
    ('1234', '12.345,50', '1,234')
    """
    english = f"{Decimal(value):,}"
    if language == "en":
        return english
    whole, _, rest = english.partition(".")
    whole = whole.replace(",", "" if len(whole.replace(",", "").lstrip("-")) == 4 else ".")
    return f"{whole},{rest}" if rest else whole


def assert_shown(found: list[Any], expected: Any, language: str) -> None:
    """A cell has the value: the machine's form exactly, and people's in their language."""
    value, text = found
    if expected is None:
        assert (value, text) == (None, "–")  # noqa: RUF001  as people write it
    elif isinstance(expected, datetime):
        assert datetime.fromisoformat(value) == expected
        assert str(expected.year) in text
    elif isinstance(expected, float):
        assert float(value) == expected
        assert abs(float(text.replace(",", ".")) - expected) <= abs(expected) / 100
    elif isinstance(expected, int | Decimal):
        assert Decimal(value) == expected
        assert text in {number_in(language, value), str(expected)}, "an id has no separators"
    else:
        assert text == str(expected)


def every_day(by_day: dict[str, int]) -> list[int]:
    """Amounts from the first day to the last; 0 where there is none."""
    days = sorted(map(date.fromisoformat, by_day))
    count = (days[-1] - days[0]).days + 1 if days else 0
    return [by_day.get((days[0] + timedelta(days=at)).isoformat(), 0) for at in range(count)]


def instant(microseconds: int) -> datetime:
    """Microseconds since 1970 as a time."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
