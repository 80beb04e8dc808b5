"""One request as views see it: who asks, in which language, with which fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from ops.console.access import Operator, Role
from ops.console.exchange import PageRequest
from ops.console.forms import form_token, read_fields
from ops.console.texts import WORDS
from ops.language import LANGUAGES, Language, preferred_language

LANGUAGE_COOKIE = "momentus-language"


@dataclass(frozen=True, slots=True)
class ConsoleVisit:
    """A request of an operator.

    Attributes:
        shown_fields: fields of payloads that every role may see.
    """

    request: PageRequest
    operator: Operator
    language: Language
    shown_fields: frozenset[str] = frozenset()

    @property
    def words(self) -> Mapping[str, str]:
        """The texts in the operator's language."""
        return WORDS[self.language]

    @property
    def query(self) -> dict[str, str]:
        """The fields of the query."""
        return read_fields(self.request.query)

    @property
    def here(self) -> str:
        """The address of this page, for links that come back to it; for a submitted form, the first page."""
        if self.request.method == "POST":
            return "/"
        return f"{self.request.path}?{self.request.query}" if self.request.query else self.request.path

    @property
    def form(self) -> str:
        """The token of this operator's forms."""
        return form_token(self.operator)

    def may(self, role: Role) -> bool:
        """Return True if the operator has this role."""
        return self.operator.may(role)


def language_of(request: PageRequest) -> Language:
    """Return the language that the operator has chosen, or else the browser's."""
    chosen = request.cookie(LANGUAGE_COOKIE)
    return next((one for one in LANGUAGES if one == chosen), preferred_language(request.accept_language))


def own_path(text: str) -> str:
    """Return a path of this server to which a link may go back; "/" for any other address.

    >>> own_path("/jobs?state=dead"), own_path("//evil.example"), own_path("https://evil.example")
    ('/jobs?state=dead', '/', '/')
    """
    allowed = text.startswith("/") and not text.startswith(("//", "/\\")) and text.isprintable() and text.isascii()
    return text if allowed else "/"


def address(path: str, **fields: object) -> str:
    """Return a path with a query of the fields that are not empty.

    >>> address("/job", id="{mail}1", lane="")
    '/job?id=%7Bmail%7D1'
    """
    given = {name: str(value) for name, value in fields.items() if value not in ("", None)}
    return f"{path}?{urlencode(given, errors='replace')}" if given else path
