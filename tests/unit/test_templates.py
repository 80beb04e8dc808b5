"""Templates: every shipped one renders in both languages, and no value can do more than be read."""

import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from jobs import BrokenTemplate, InvalidPart, LostStyle, Mail, MissingValue, UnknownTemplate, UnusedValue
from jobs.mail import css
from jobs.mail.templates import SHIPPED, Templates
from jobs.mail.values import plain_values

VALUES: dict[str, dict[str, Any]] = {
    "task_assigned": {"task": "«Cierre» & más", "due": date(2026, 11, 30)},
    "blocker_raised": {"person": "Ana O'Neil", "node": "Finanzas <Sur>", "blocker": "sin acceso"},
    "digest": {"tasks": ["Cierre <1>", "Informe & anexo", 3]},
    "tasks_assigned": {"items": [{"task": "Cierre <1>", "due": "hoy"}, {"task": "Anexo", "due": 3}]},
}
NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
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


def flat(value: Any) -> list[str]:
    if isinstance(value, dict | list):
        return [text for one in (value.values() if isinstance(value, dict) else value) for text in flat(one)]
    return [str(value)]


def filled(value: Any, word: str) -> Any:
    """The same shape with one word everywhere."""
    if isinstance(value, dict):
        return {name: filled(one, word) for name, one in value.items()}
    return [filled(value[0], word)] if isinstance(value, list) else word


render = SHIPPED.render


def test_these_are_all_the_templates() -> None:
    assert SHIPPED.names() == sorted(VALUES)


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
    quiet, loud = filled(VALUES[name], "quiet"), filled(VALUES[name], hostile)
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
    values = plain_values({"task": Trusted("<script>"), "due": Trusted("<b>")})
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
        "h": [{"task": "x", "due": date(2026, 1, 2)}],
    }
    assert plain_values(values) == {**values, "g": []}


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (None, "values.task"),
        (b"x", "values.task"),
        ({"a": 1}, "values.task"),
        ({1}, "values.task"),
        (object(), "values.task"),
        (["x", ["x"]], "values.task[1]"),
        ([None], "values.task[0]"),
        ([{"due": None}], "values.task[0].due"),
        ([{"due": ["x"]}], "values.task[0].due"),
        ([{5: "x"}], "values.task[0]"),
    ],
)
def test_nothing_else_is_a_value_and_the_place_is_named(value: object, field: str) -> None:
    with pytest.raises(InvalidPart) as refusal:
        plain_values({"task": value})
    assert refusal.value.field == field


@pytest.mark.parametrize("tasks", ["abc", 5, date(2026, 1, 2)])
def test_what_a_template_loops_over_must_be_a_list_or_it_would_tell_letters(tasks: object) -> None:
    with pytest.raises(InvalidPart, match="loops over it") as refusal:
        render("digest", "es", plain_values({"tasks": tasks}))
    assert refusal.value.field == "values.tasks"


def test_a_list_is_never_printed_as_python_writes_lists() -> None:
    with pytest.raises(InvalidPart, match="cannot print a list"):
        render("task_assigned", "es", plain_values({"task": ["a", "b"], "due": "hoy"}))
    with pytest.raises(InvalidPart, match="cannot print a builtin_function_or_method"):
        render("tasks_assigned", "es", {"items": [{"task": {}.update, "due": "hoy"}] * 2})


def test_a_row_that_lacks_a_value_is_refused() -> None:
    with pytest.raises(MissingValue, match="due"):
        render("tasks_assigned", "es", plain_values({"items": [{"task": "a"}]}))


# ---- a folder of one's own


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


INVOICE = {
    "invoice/es.subject": "Factura {{ number }}",
    "invoice/es.html": "<p>Factura <b>{{ number }}</b> de {{ client }}</p>",
}


def test_a_folder_of_ones_own_adds_templates_and_replaces_shipped_ones(tmp_path: Path) -> None:
    own = {"digest/es.subject": "Resumen", "digest/es.text": "{{ word }}"}
    ours = Templates(write(tmp_path, {**INVOICE, **own}))
    assert ours.names() == sorted([*SHIPPED.names(), "invoice"])
    assert ours.render("digest", "es", {"word": "Hola"}).text == "Hola"
    assert ours.locales("digest") == ["es"], "a shipped language with other words would be worse than none"
    assert ours.render("task_assigned", "en", VALUES["task_assigned"]).subject.startswith("Task assigned")
    assert "invoice" not in SHIPPED.names()


def test_a_mail_is_made_from_a_folder_of_ones_own(tmp_path: Path) -> None:
    ours = Templates(write(tmp_path, INVOICE))
    mail = Mail(to="a@example.com", template="invoice", values={"number": 7, "client": "A&B"}, templates=ours)
    frozen = mail.compose(job_id="{mail}1", now=NOW)
    assert (frozen["subject"], frozen["text"]) == ("Factura 7", "Factura 7 de A&B\n")
    with pytest.raises(UnknownTemplate):
        Mail(to="a@example.com", template="invoice").compose(job_id="{mail}1", now=NOW)


def test_where_templates_lie_makes_no_other_mail_of_it(tmp_path: Path) -> None:
    ours, shipped = Templates(write(tmp_path, INVOICE)), Templates()
    mails = [Mail(to="a@example.com", template="digest", templates=one) for one in (ours, shipped)]
    assert mails[0] == mails[1]
    assert mails[0].fingerprint() == mails[1].fingerprint()


def test_a_template_that_is_changed_or_removed_later_changes_nothing_in_this_process(tmp_path: Path) -> None:
    ours = Templates(write(tmp_path, INVOICE))
    values = {"number": 7, "client": "A"}
    before = ours.render("invoice", "es", values)
    write(tmp_path, {"invoice/es.subject": "Otra cosa"})
    assert ours.render("invoice", "es", values) == before
    (tmp_path / "invoice/es.html").unlink()
    assert ours.render("invoice", "es", values) == before


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"x/es.subject": "{% if %}", "x/es.text": "a"}, "'x' in 'es': TemplateSyntaxError"),
        ({"x/es.subject": "a", "x/es.text": "{{ a | nonsense }}"}, "No filter named 'nonsense'"),
        ({"x/es.subject": "a"}, "neither text nor html"),
        ({"x/es.subject": "a", "x/es.html": "{% extends 'gone.html' %}"}, "gone.html"),
    ],
)
def test_a_folder_with_a_broken_template_is_refused_at_the_start(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    with pytest.raises(BrokenTemplate, match=words):
        Templates(write(tmp_path, files))


def test_a_folder_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(BrokenTemplate, match="is not a folder"):
        Templates(tmp_path / "nowhere")


def test_a_layout_s_values_are_needed_too_and_what_a_part_sets_itself_is_not(tmp_path: Path) -> None:
    files = {
        "_layout/frame.html": "<h1>{{ title }}</h1>{% block body %}{% endblock %}<p>{{ company }}</p>",
        "x/es.subject": "{% for n in range(2) %}{{ n }}{% endfor %}",
        "x/es.html": "{% extends '_layout/frame.html' %}{% set title = 'T' %}"
        "{% block body %}{{ a }}{% endblock %}",
    }
    ours = Templates(write(tmp_path, files))
    assert "_layout" not in ours.names()
    with pytest.raises(MissingValue, match="template 'x' needs a, company"):
        ours.render("x", "es", {})
    assert ours.render("x", "es", {"a": "A", "company": "C"}).html == "<h1>T</h1>A<p>C</p>"


def test_a_region_s_language_does_where_there_is_no_better_one(tmp_path: Path) -> None:
    values = VALUES["task_assigned"]
    assert render("task_assigned", "es-MX", values) == render("task_assigned", "es", values)
    assert render("task_assigned", "en_GB", values) == render("task_assigned", "en", values)
    files = {"task_assigned/es.subject": "t", "task_assigned/es.text": "t"}
    files |= {"task_assigned/es-MX.subject": "tú", "task_assigned/es-MX.text": "tú"}
    assert Templates(write(tmp_path, files)).render("task_assigned", "es-MX", {}).subject == "tú"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("pt-BR", "pt-BR"),
        ("pt-br", "pt-BR"),
        ("PT_br", "pt-BR"),
        ("pt-PT", "pt"),
        ("pt", "pt"),
        ("es-419", "es"),
        ("es-Latn-x-casa", "es"),
        ("zh-hant-TW", "zh_Hant"),
        ("en-GB", "en-US"),
        ("de", "en-US"),
        (None, "en-US"),
    ],
)
def test_a_language_is_found_as_rfc_4647_has_it(tmp_path: Path, asked: str | None, found: str) -> None:
    written = ("pt", "pt-BR", "es", "zh_Hant", "en-US")
    files = {f"x/{one}.{part}": one for one in written for part in ("subject", "text")}
    ours = Templates(write(tmp_path, files), default_locale="en-us")
    assert ours.render("x", asked, {}).subject == found
    mail = Mail(to="a@example.com", template="x", locale=asked, templates=ours)
    assert mail.compose(job_id="{mail}1", now=NOW)["subject"] == found


def test_without_a_default_an_unwritten_language_is_refused_and_a_mail_that_names_none_is_spanish() -> None:
    with pytest.raises(
        UnknownTemplate, match=r"available: en, es; for others pass Templates\(default_locale=...\)"
    ):
        SHIPPED.render("digest", "de", {"tasks": ["x"]})
    assert SHIPPED.render("digest", None, {"tasks": ["x"]}).subject == "1 tarea asignada"
    assert Templates(default_locale="en").render("digest", "de", {"tasks": ["x"]}).subject == "1 task assigned"


@pytest.mark.parametrize("tag", ["", "español", "es-ES,es;q=0.9", "../es", "-es", "es-", "e" * 9, "*"])
def test_what_is_no_language_tag_is_refused_even_with_a_default(tag: str) -> None:
    with pytest.raises(UnknownTemplate, match="not a language tag"):
        Templates(default_locale="en").render("digest", tag, {"tasks": ["x"]})
    with pytest.raises(UnknownTemplate, match="default_locale"):
        Templates(default_locale=tag)


def test_a_mail_that_names_no_language_is_the_mail_that_it_was() -> None:
    mail = Mail(to="a@example.com", template="digest", values={"tasks": ["x"]})
    assert (
        mail.fingerprint()
        == replace(mail, locale="es").fingerprint()
        == ("f5e03fb6526d5b1d0e9dba76fff0f7d89456939f76a8a52dc081f13b033cf19e")
    )
    assert mail.fingerprint() != replace(mail, locale="en").fingerprint()


def test_any_number_of_spellings_of_a_language_is_asked_for_without_being_kept() -> None:
    ours = Templates(default_locale="en")
    for number in range(1200):
        ours.render("digest", f"es-x-{number}", {"tasks": ["x"]})
    assert len(ours._asked) == 1000


def test_a_value_that_nothing_uses_is_warned_of() -> None:
    mail = Mail(to="a@example.com", template="digest", values={"tasks": ["a"], "task": "b"})
    with pytest.warns(UnusedValue, match=r"template 'digest' does not use values\.task$"):
        mail.compose(job_id="{mail}1", now=NOW)


STYLED = {
    "x/es.subject": "x",
    "x/es.html": "<html><head><style>p { color: red } .b { margin: 0 } @media print { p { color: blue } }"
    "</style><link rel=stylesheet href=http://127.0.0.1:1/x.css></head><body>"
    "<table>{% for r in rows %}<tr><td class=b>{{ r }}</td></tr>{% endfor %}</table><p>ñ</p></body></html>",
}


def test_a_style_sheet_is_put_into_the_elements_and_nothing_is_fetched(tmp_path: Path) -> None:
    with pytest.warns(LostStyle, match=r"^template 'x' in 'es': <link>: its style sheet is not fetched"):
        ours = Templates(write(tmp_path, STYLED))
    html = ours.render("x", "es", {"rows": ["<1>", "2"]}).html
    assert html.count('<td class="b" style="margin: 0;">') == 2
    assert '<p style="color: red;">ñ</p>' in html
    assert "&lt;1&gt;" in html
    assert "@media print" in html, "what no attribute can say stays in a sheet"
    assert ours.render("x", "es", {"rows": ["<1>", "2"]}).html == html


def test_without_the_library_a_template_with_a_style_sheet_is_refused_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "css_inline", None)
    css._inline.cache_clear()
    try:
        with pytest.raises(BrokenTemplate, match=r"install momentus-client\[html\]"):
            Templates(write(tmp_path, STYLED))
    finally:
        css._inline.cache_clear()
