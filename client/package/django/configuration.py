"""The Django setting ``MOMENTUS``: its options, their checks and defaults.

`docs/django.md` has a table of them. An unknown or invalid option raises ImproperlyConfigured with its name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Checked options of ``MOMENTUS``; each has the option's name in lower case."""

    url: str
    budget: float = 0.1
    confirm_replicas: int = 0
    seal: Any = None
    on_commit: str | None = None
    level: str = "redis"
    database: str = "default"
    urgency: str = "normal"
    stream: str | None = None
    account: str | None = None
    private_domains: tuple[str, ...] = ()
    sessions_url: str = ""
    session_absolute: timedelta = timedelta(days=30)

    @property
    def place(self) -> dict[str, Any]:
        """Arguments of ``send`` for ``LEVEL`` and ``DATABASE``."""
        return {} if self.level == "redis" else {"level": self.level, "connection": self.database}


NAMES = tuple(one.name.upper() for one in fields(Configuration))


@cache
def configuration() -> Configuration:
    """Return the options of the setting ``MOMENTUS``.

    Raises:
        ImproperlyConfigured: the setting is missing, or an option is unknown or invalid.
    """
    given = getattr(settings, "MOMENTUS", None)
    if given is None:
        raise ImproperlyConfigured('MOMENTUS: is missing; set it to {"URL": "redis://host:6379/0"}')
    return read_configuration(given)


def with_options(own: Mapping[str, object]) -> Configuration:
    """Return the options of ``MOMENTUS`` with these overrides, by name. Raises ImproperlyConfigured."""
    base = configuration()
    if not own:
        return base
    given = read_configuration({"URL": base.url, **own})
    return replace(base, **{name.lower(): getattr(given, name.lower()) for name in own})


def read_configuration(given: object) -> Configuration:
    """Check the value of ``MOMENTUS``.

    Raises:
        ImproperlyConfigured: an option is unknown or invalid; the text names it.

    Example:
        >>> read_configuration({"URL": "redis://127.0.0.1:6379/0"}).budget
        0.1
    """
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"MOMENTUS: must be a dict of options, not {type(given).__name__}")
    for name in given:
        if name not in NAMES:
            raise ImproperlyConfigured(f"MOMENTUS[{name!r}]: is not an option{_suggestion(name)}")
    if "URL" not in given:
        raise _invalid("URL", "is missing; give the address of Redis, such as redis://host:6379/0")
    checked: dict[str, Any] = {
        name: CHECKS[name](name, value) if name in CHECKS else value for name, value in given.items()
    }
    return Configuration(**{name.lower(): value for name, value in checked.items()})


def _suggestion(name: object) -> str:
    near = get_close_matches(str(name).upper(), NAMES, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; the options are {', '.join(NAMES)}"


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _invalid(name, f"must be a string, not {type(value).__name__}")
    return value


def _budget(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 60:  # noqa: PLR2004  a minute
        raise _invalid(name, "must be a number of seconds, more than 0 and at most 60")
    return float(value)


def _replicas(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _invalid(name, "must be a number of replicas, 0 or more")
    return value


def _alias(name: str, value: object) -> str | None:
    if value is None or isinstance(value, bool):
        return "default" if value else None
    if _text(name, value) not in settings.DATABASES:
        raise _invalid(name, f"{value!r} is not an alias in DATABASES")
    return str(value)


def _one_of(*words: str) -> Callable[[str, object], str]:
    def check(name: str, value: object) -> str:
        if value not in words:
            raise _invalid(name, f"must be {', '.join(words[:-1])} or {words[-1]}, not {value!r}")
        return str(value)

    return check


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, list | tuple | set | frozenset):
        raise _invalid(name, "must be a list of strings")
    return tuple(_text(name, one) for one in value)


def _span(name: str, value: object) -> timedelta:
    span = value if isinstance(value, timedelta) else timedelta(seconds=_seconds(name, value))
    if span <= timedelta(0):
        raise _invalid(name, "must be more than 0")
    return span


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _invalid(name, "must be a timedelta or a number of seconds")
    return value


def _invalid(name: str, reason: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"MOMENTUS[{name!r}]: {reason}")


CHECKS: Mapping[str, Callable[[str, object], object]] = {
    "URL": _text,
    "SESSIONS_URL": _text,
    "BUDGET": _budget,
    "CONFIRM_REPLICAS": _replicas,
    "ON_COMMIT": _alias,
    "LEVEL": _one_of("redis", "fallback", "ledger"),
    "DATABASE": _alias,
    "URGENCY": _one_of("urgent", "normal", "bulk"),
    "STREAM": _text,
    "ACCOUNT": _text,
    "PRIVATE_DOMAINS": _texts,
    "SESSION_ABSOLUTE": _span,
}


def _forget(*, setting: str, **_: object) -> None:
    if setting == "MOMENTUS":  # a test overrides it
        configuration.cache_clear()


setting_changed.connect(_forget)
