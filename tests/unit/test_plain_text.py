"""The text that is derived from HTML says what it says, with its links, and costs no more than its length."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from jobs import Mail
from jobs.mail.plain_text import html_to_text


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("<p>Hola:</p>\n<p>Adiós</p>", "Hola:\n\nAdiós\n"),
        ("<p>uno<br>dos<br/>tres</p>", "uno\ndos\ntres\n"),
        ("<ul>\n<li>a</li>\n<li>b</li>\n</ul>fin", "- a\n- b\n\nfin\n"),
        ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\n\nc\n"),
        ("a &lt;b&gt; &amp; c&nbsp;d &#233;", "a <b> & c\xa0d é\n"),
        ("<a href='https://e.com/x?a=1&amp;b=2'>ver</a>", "ver (https://e.com/x?a=1&b=2)\n"),
        ("<a href='https://e.com'><b>ver</b> ya</a>", "ver ya (https://e.com)\n"),
        ("<a href=https://e.com>https://e.com</a>", "https://e.com\n"),
        ("<a href='mailto:a@e.com'>a@e.com</a> <a href='#top'>arriba</a>", "a@e.com arriba\n"),
        ("<a href='https://e.com'><img src=x alt='Logo'></a><img alt=''>", "Logo (https://e.com)\n"),
        ("<a href='https://e.com'><img src=x></a>", "https://e.com\n"),
        ("<head><title>T</title><style>p{}</style></head><body>x<!-- <p>no</p> --></body>", "x\n"),
        ("<script>alert('<p>')</script>y", "y\n"),
        ("<h1>T</h1><div>a</div><div>b</div><hr>c", "T\n\na\n\nb\n\n---\n\nc\n"),
        ("uno   dos\n\n tres", "uno dos tres\n"),
        ("2 < 3 y 4 > 1", "2 < 3 y 4 > 1\n"),
        ("</a></ul><a>x</a>", "x\n"),
        ("a<!--[if !mso]><!--><b>b</b><!--<![endif]-->c", "abc\n"),
        ("<!--[if mso]><p>x</p><![endif]-->y", "y\n"),
        ("a<![if !mso]>b<![endif]>c", "abc\n"),
        ("a<!-->b<!--->c<!--x--!>d<!--y", "abcd\n"),
        ("<div>Resumen" + "&#847;&zwnj;&nbsp;&#8199;&#65279;&shy; " * 40 + "</div>Hola", "Resumen\nHola\n"),
        ("Resumen" + "&nbsp;&zwnj;" * 90 + "<p>Hola</p>", "Resumen\n\nHola\n"),
        ("&#8203;" * 9 + "x" + "&nbsp;" * 60 + "y", "x y\n"),
        ("क्&zwj;ष 👩&zwj;👧 x&nbsp;&nbsp;y", "क्\u200dष 👩\u200d👧 x\xa0\xa0y\n"),
        ("", ""),
        ("<p> </p><img src=x>", ""),
    ],
)
def test_a_document_reads_as_its_words(document: str, text: str) -> None:
    assert html_to_text(document) == text


def test_a_mail_of_html_alone_gets_a_text_part() -> None:
    mail = Mail(to="a@example.com", subject="x", html="<p>Hola <a href='https://e.com'>aquí</a></p>")
    frozen = mail.compose(job_id="{mail}0", now=datetime.now(UTC))
    assert frozen["text"] == "Hola aquí (https://e.com)\n"


@given(
    st.lists(st.sampled_from(["<", ">", "<p>", "</p>", "<a href='", "'", '"', "<!--", "-->", "<style>", "x", " "]))
)
def test_no_document_is_too_broken_to_be_read(pieces: list[str]) -> None:
    html_to_text("".join(pieces))


@pytest.mark.parametrize(
    "piece",
    [
        "<",
        "<!--",
        "<a ",
        "<a href='",
        '<a href="x',
        " ",
        " href",
        "&",
        "<style>",
        "</a>",
        "<!-",
        "<!--[if !mso]><!-->",
        "&zwnj; ",
    ],
)
def test_a_hostile_document_of_the_largest_size_is_read_in_one_go(piece: str) -> None:
    assert len(html_to_text(piece * (256 * 1024 // len(piece)))) <= 256 * 1024 + 1
    assert not re.search(r"<(p|style)>", html_to_text("<p>" * 80_000))
