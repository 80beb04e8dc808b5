"""Connections of the process: a producer and a store of sessions for each address, opened by their first call.

Threads and event loops share them. A forked process opens its own, as :class:`SyncProducer` and :class:`SyncLinks`
do by themselves.
"""

from datetime import timedelta
from functools import cache
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from momentus_client.django.configuration import Configuration, configuration
from momentus_client.producers import InvalidRequest, SyncProducer
from momentus_client.sessions import Sessions, SyncSessions


def producer(options: Configuration | None = None) -> SyncProducer:
    """Return the producer for these options; by default, for those of ``MOMENTUS``.

    Raises:
        ImproperlyConfigured: an option is invalid.
    """
    wanted = options or configuration()
    return _producer(wanted.url, wanted.budget, wanted.confirm_replicas, wanted.seal)


@cache
def _producer(url: str, budget: float, confirm_replicas: int, seal: Any) -> SyncProducer:  # noqa: ANN401  any Seal
    try:
        return SyncProducer.connect(url, budget=budget, confirm_replicas=confirm_replicas, seal=seal)
    except InvalidRequest as error:
        raise ImproperlyConfigured(f"MOMENTUS['URL']: {error}") from None


def sessions() -> SyncSessions:
    """Return the store of sessions for threads. Raises ImproperlyConfigured."""
    return _sessions(_sessions_url())


def async_sessions() -> Sessions:
    """Return the store of sessions for event loops. Raises ImproperlyConfigured."""
    return _async_sessions(_sessions_url())


def _sessions_url() -> str:
    return configuration().sessions_url or configuration().url


@cache
def _sessions(url: str) -> SyncSessions:
    try:
        return SyncSessions.connect(url, deadline=DEADLINE)
    except ValueError as error:
        raise ImproperlyConfigured(f"MOMENTUS['SESSIONS_URL']: {error}") from None


@cache
def _async_sessions(url: str) -> Sessions:
    try:
        return Sessions.connect(url, deadline=DEADLINE)
    except ValueError as error:
        raise ImproperlyConfigured(f"MOMENTUS['SESSIONS_URL']: {error}") from None


DEADLINE = timedelta(milliseconds=250)
"""The longest that a request waits for its session."""
