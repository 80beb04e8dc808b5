"""Forms of the console: their fields, and the proof that one of its own pages has sent them.

A browser names the origin of a request (`Sec-Fetch-Site`, or `Origin`), and a form carries a token that only a
page of this process could have; a request that may change something needs both. A program with `Authorization:
Bearer` needs neither, since no page can make a browser send that.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qsl

from ops.console.access import Operator
from ops.console.exchange import PageRequest
from sessions.cross_origin import is_cross_origin

TOKEN = "form"  # noqa: S105  the name of a field
_MOST_FIELDS = 200
_KEY = secrets.token_bytes(32)
"""Key of the forms' tokens. Forms of an earlier process are refused: their page must be loaded again."""


def read_fields(text: str) -> dict[str, str]:
    """Return the fields of a query or a form: the last of several with the same name; none if it is not a form."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="replace")
    except ValueError:
        return {}
    return {name: value.replace("\r\n", "\n") for name, value in pairs}


def read_form(request: PageRequest) -> dict[str, str]:
    """Return the fields of a form that was sent."""
    return read_fields(request.body.decode("utf-8", "replace"))


def form_token(operator: Operator) -> str:
    """Return the token that this operator's forms carry."""
    text = f"{operator.way}:{operator.name}"
    return hmac.new(_KEY, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


def is_own_form(request: PageRequest, fields: Mapping[str, str], operator: Operator) -> bool:
    """Return True if one of this console's own pages sent the form, or a program with a token of its own."""
    if is_cross_origin(request.method, request.headers.get):
        return False
    if "authorization" in request.headers:
        return True
    sent = fields.get(TOKEN, "").encode("utf-8", "replace")
    return hmac.compare_digest(form_token(operator).encode(), sent)
