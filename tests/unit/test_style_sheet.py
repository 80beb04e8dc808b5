"""What a style sheet says reaches the reader: in the elements where that works, in a <style> where it does not."""

import warnings
from pathlib import Path

import pytest

from jobs import LostStyle, Templates
from jobs.mail.css import inline_styles, style_notes
from jobs.mail.style_sheet import split_sheet, with_fallbacks

BODY = '<p class="c"><a class="b" href="x">x</a><b>f</b></p>'


def page(css: str, *, attributes: str = "", body: str = BODY) -> str:
    return f"<html><head><style{attributes}>{css}</style></head><body>{body}</body></html>"


def head_and_body(css: str) -> tuple[str, str]:
    """What is left in the head, and the body without its brackets of HTML."""
    head, _, body = inline_styles(page(css)).partition("</head><body>")
    return head.removeprefix("<html><head>"), body.removesuffix("</body></html>")


@pytest.mark.parametrize(
    ("css", "head", "body"),
    [
        pytest.param(
            "a { color: red } a:hover { color: blue }",
            "<style>a:hover { color: blue !important }</style>",
            '<a class="b" href="x" style="color: red;">',
            id="a state stays in the head and goes before the attribute",
        ),
        pytest.param(
            "a, a:hover, a::before { color: red !important; top: 1px }",
            "<style>a:hover, a::before { color: red !important; top: 1px !important }</style>",
            '<a class="b" href="x" style="color: red !important;top: 1px;">',
            id="of a list each selector goes where it works",
        ),
        pytest.param(
            ":is(a, b) { color: red } b { top: 0 }",
            "<style>:is(a, b) { color: red !important }</style>",
            '<b style="top: 0;">',
            id="a selector that the inliner does not know",
        ),
        pytest.param(
            "b:nth-child(2 of b) { top: 0 }",
            "<style>b:nth-child(2 of b) { top: 0 !important }</style>",
            "<b>",
            id="another that it does not know",
        ),
        pytest.param(
            ".c { color: red; & a { color: blue } > b { color: green; } &.c { margin: 0 } }",
            "",
            '<p class="c" style="color: red;margin: 0;"><a class="b" href="x" style="color: blue;">x</a>'
            '<b style="color: green;">',
            id="nested rules",
        ),
        pytest.param(
            ".c { @media print { color: black } b:hover { top: 0 } }",
            "<style>@media print { .c { color: black } } .c b:hover { top: 0 !important }</style>",
            "<b>",
            id="nested rules that need a sheet",
        ),
        pytest.param(
            "a { background: #fff; background: linear-gradient(red, blue); }",
            "",
            '<a class="b" href="x" style="background: #fff; background: linear-gradient(red, blue)">',
            id="a fallback",
        ),
        pytest.param(
            "a { background: none } a.b { color: red; background: #fff; background: url('a;b.png') }",
            "",
            "style=\"background: #fff; background: url('a;b.png'); color: red\"",
            id="a fallback that comes after a rule for the same property",
        ),
        pytest.param(
            "a.b { background: none } a { background: #fff; background: linear-gradient(red, blue) }",
            "",
            'style="background: #fff; background: none"',
            id="a fallback under a stronger rule",
        ),
        pytest.param(
            "@font-face { font-family: x; src: url(y) } @media (width: 9px) { a { color: red } } a { top: 0 }",
            "<style>@font-face { font-family: x; src: url(y) } @media (width: 9px) { a { color: red } }</style>",
            '<a class="b" href="x" style="top: 0;">',
            id="at-rules",
        ),
        pytest.param(
            "<!-- a { color: red } /* b { */ b { top: 0 } -->",
            "",
            '<b style="top: 0;">',
            id="comments of both kinds",
        ),
        pytest.param(
            "a[href='x'], p:not(.x, .y):first-child { top: 0 } a[title=':hover;{'] { left: 0 }",
            "",
            '<p class="c" style="top: 0;"><a class="b" href="x" style="top: 0;">',
            id="selectors with quotes and structure",
        ),
        pytest.param(
            r".sm\:b:hover, .c { top: 0 }",
            r"<style>.sm\:b:hover { top: 0 !important }</style>",
            '<p class="c" style="top: 0;">',
            id="escapes",
        ),
        pytest.param("p { --x: { a: b }; top: 0 }", "", "top: 0", id="a custom property in braces"),
    ],
)
def test_each_rule_goes_where_it_works(css: str, head: str, body: str) -> None:
    found = head_and_body(css)
    assert found[0] == head
    assert body in found[1]


@pytest.mark.parametrize(
    "attributes", [' media="print"', " media='(max-width: 600px)'", " media=print", ' media="screen and (color)"']
)
def test_a_sheet_for_some_readers_is_written_into_nobody_s_mail(attributes: str) -> None:
    document = page("a { color: red }", attributes=attributes)
    assert inline_styles(document) == document


@pytest.mark.parametrize(
    "attributes", [' media="screen"', ' media="all"', ' media="screen, print"', ' type="text/css"']
)
def test_a_sheet_for_everybody_is(attributes: str) -> None:
    assert 'style="color: red;"' in inline_styles(page("a { color: red }", attributes=attributes))


@pytest.mark.parametrize(
    "doctype",
    [
        "<!DOCTYPE html>",
        "<!doctype html>",
        '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1.dtd">',
        "",
    ],
)
def test_the_doctype_stays_as_it_is(doctype: str) -> None:
    assert inline_styles(doctype + page("b { top: 0 }")).startswith(f"{doctype}<html>")


def test_conditional_comments_stay_for_those_whom_they_are_for() -> None:
    comments = "<!--[if mso]><style>i { top: 0 }</style><![endif]--><!--[if !mso]><!--><i>z</i><!--<![endif]-->"
    done = inline_styles(page("i { color: red }", body=f"<![if !mso]><b>y</b><![endif]>{comments}"))
    assert done.endswith(
        "<body><!--[if !mso]><!--><b>y</b><!--<![endif]--><!--[if mso]><style>i { top: 0 }</style><![endif]-->"
        '<!--[if !mso]><!--><i style="color: red;">z</i><!--<![endif]--></body></html>'
    )


@pytest.mark.parametrize(
    ("css", "note"),
    [
        ("a:is(.x, .y) { top: 0 }", "a:is(.x, .y): stays in <style>"),
        ("a:has(b) { top: 0 }", "a:has(b): stays in <style>"),
        ("@import url(x.css);", "@import: few mail programs fetch"),
        ("@layer x { a { top: 0 } }", "@layer: stays in <style>"),
        ("@container (min-width: 1px) { a { top: 0 } }", "@container: stays in <style>"),
        ("a { top: 0 }} b { top: 0 }", "braces: "),
        ("a; b { top: 0 }", "a: is not a rule and is left out"),
    ],
)
def test_what_many_mail_programs_will_not_show_is_told(css: str, note: str) -> None:
    (told,) = style_notes(page(css))
    assert told.startswith(note)


@pytest.mark.parametrize(
    "css",
    [
        "a:hover, a:visited, p::first-line { top: 0 } @media print { a { top: 0 } }",
        "a { {{ more }} color: {{ colour }}; } {% if x %} b { top: 0 } {% endif %} {# } #}",
        "@-webkit-keyframes x { from { top: 0 } } @supports (display: grid) { a { top: 0 } }",
    ],
)
def test_of_what_works_where_it_can_nothing_is_told(css: str) -> None:
    assert style_notes(page(css)) == []


def test_the_templates_of_a_folder_are_looked_at_when_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x/es.subject").write_text("x")
    (tmp_path / "x/es.html").write_text(page("a:is(.x) { top: 0 } a { color: {{ colour }} }"))
    with pytest.warns(LostStyle, match=r"^template 'x' in 'es': a:is\(\.x\): stays in <style>") as told:
        ours = Templates(tmp_path)
    assert len(told) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert 'style="color: red;"' in ours.render("x", "es", {"colour": "red"}).html


@pytest.mark.parametrize(
    "piece", ["{", "}", "(", "[", '"', "\\", "/*", "a{", "@a{", ",", ":is(", "a;", "<!--", "'"]
)
def test_a_hostile_sheet_of_the_largest_size_is_read_in_one_go(piece: str) -> None:
    split_sheet(piece * (64 * 1024 // len(piece)))
    with_fallbacks(piece * (64 * 1024 // len(piece)))
