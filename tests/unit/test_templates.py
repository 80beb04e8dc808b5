"""Templates: every shipped one renders in both languages, and no value can do more than be read."""

from datetime import date
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from jobs import InvalidPart, MissingValue
from jobs.mail.templates import names, render
from jobs.mail.values import plain_values

VALUES: dict[str, dict[str, Any]] = {
    "task_assigned": {"task": "«Cierre» & más", "due": date(2026, 11, 30)},
    "blocker_raised": {"person": "Ana O'Neil", "node": "Finanzas <Sur>", "blocker": "sin acceso"},
    "digest": {"tasks": ["Cierre <1>", "Informe & anexo", 3]},
}
HOSTILE = [
    "{{ 7 * 7 }}",
    "{% raw %}",
    "{{ ''.__class__.__mro__ }}",
    "__class__",
    "{# gone #}",
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "&lt;b&gt;",
    "%s {0} ${x}",
]


class Words(HTMLParser):
    """The tags of a document, and its text as a reader sees it."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(document)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(f"{tag} {sorted(name for name, _ in attrs)}")

    def handle_data(self, data: str) -> None:
        self.text += data


def flat(values: dict[str, Any]) -> list[str]:
    return [str(one) for value in values.values() for one in (value if isinstance(value, list) else [value])]


def test_these_are_all_the_templates() -> None:
    assert names() == sorted(VALUES)


@pytest.mark.parametrize("locale", ["es", "en"])
@pytest.mark.parametrize("name", VALUES)
def test_every_template_tells_all_its_values_in_both_languages(name: str, locale: str) -> None:
    mail = render(name, locale, VALUES[name])
    assert mail.subject
    assert "\n" not in mail.subject
    for value in flat(VALUES[name]):
        assert value in mail.text
        assert value in Words(mail.html).text
    assert f'<html lang="{locale}">' in mail.html
    for part in (mail.subject, mail.text, mail.html):
        assert "{" not in part
        assert "None" not in part


def test_the_languages_differ() -> None:
    for name, values in VALUES.items():
        assert render(name, "es", values).text != render(name, "en", values).text


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("name", VALUES)
def test_a_hostile_value_is_only_read(name: str, hostile: str) -> None:
    quiet, loud = (
        {key: [word] if isinstance(value, list) else word for key, value in VALUES[name].items()}
        for word in ("quiet", hostile)
    )
    for locale in ("es", "en"):
        calm, mail = render(name, locale, quiet), render(name, locale, loud)
        assert mail.subject == calm.subject.replace("quiet", hostile)
        assert mail.text == calm.text.replace("quiet", hostile)
        assert Words(mail.html).tags == Words(calm.html).tags
        assert Words(mail.html).text == Words(calm.html).text.replace("quiet", hostile)


def test_one_task_is_counted_as_one() -> None:
    assert render("digest", "es", {"tasks": ["a"]}).subject == "1 tarea asignada"
    assert render("digest", "en", {"tasks": ["a", "b"]}).subject == "2 tasks assigned"


@pytest.mark.parametrize("name", VALUES)
def test_each_missing_value_is_named(name: str) -> None:
    for gone in VALUES[name]:
        rest = {key: value for key, value in VALUES[name].items() if key != gone}
        with pytest.raises(MissingValue, match=gone) as refusal:
            render(name, "es", rest)
        assert refusal.value.field == f"values.{gone}"


class Trusted(str):
    """A text that claims to be safe HTML, as web frameworks have them."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def test_a_text_that_claims_to_be_safe_html_is_escaped_all_the_same() -> None:
    values = plain_values({"task": Trusted("<script>"), "due": [Trusted("<b>")]})
    mail = render("task_assigned", "es", values)
    assert "<script>" not in mail.html
    assert "<b>" not in mail.html


def test_texts_numbers_dates_and_flat_lists_of_them_are_values() -> None:
    values = {
        "a": "x\r\n\ty",
        "b": 1,
        "c": 1.5,
        "d": Decimal("1.50"),
        "e": date(2026, 1, 2),
        "f": ["x", 1],
        "g": (),
    }
    assert plain_values(values) == {**values, "g": []}


@pytest.mark.parametrize("value", [None, b"x", {"a": 1}, {1}, object(), [["x"]], [None]])
def test_nothing_else_is_a_value(value: object) -> None:
    with pytest.raises(InvalidPart) as refusal:
        plain_values({"task": value})
    assert refusal.value.field == "values.task"
