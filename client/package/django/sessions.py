"""SESSION_ENGINE on shared sessions: ``SESSION_ENGINE = "momentus_client.django.sessions"``.

A visitor's session is anonymous: other Django servers with this engine share it, all other backends do not see it.
After ``django.contrib.auth.login`` the session belongs to the user, by the text of their primary key: other
backends load it by its token (the session key, in the cookie), with the data as a plain JSON object.

States of a session here, by ``_record``:

    None        nothing is stored under this object yet; a save begins a session
    a session   as last loaded or saved; a save sends the difference to it

A save begins a session under a new key when the session changes hands (a log-in, a log-out by hand) or its expiry;
so read ``session_key`` after ``save()``. It never brings back a session that was ended meanwhile: it raises
UpdateError, which Django's middleware turns into a 400. Two requests that save at once both keep what they
changed, by top-level key.

Reading counts as use: a session ends ``get_expiry_age()`` after its last use, and at the latest after
``SESSION_ABSOLUTE``. Values that JSON does not have are refused.
"""

import json
from collections.abc import Generator
from copy import deepcopy
from datetime import timedelta
from typing import Any, TypeVar

from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase, UpdateError
from django.core.exceptions import ImproperlyConfigured
from momentus_client.django.configuration import configuration
from momentus_client.django.connections import async_sessions, sessions
from momentus_client.django.session_data import Change, change_between
from momentus_client.sessions import Session, SessionConflict, SessionGone, anonymous, operations as calls
from momentus_client.sessions.operations import SessionOperation
from momentus_client.sessions.token import SessionPlace, anonymous_place_of, place_of

Result = TypeVar("Result")
Steps = Generator[SessionOperation[Any], Any, Result]
"""Operations, one after the other, of a method with and without asyncio; each is sent its result."""

EXPIRY = "_session_expiry"
"""The key under which Django keeps what ``set_expiry`` was given."""
INSTANT = timedelta(milliseconds=1)
"""The shortest life of a session."""


class SessionStore(SessionBase):
    """Session of one request."""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._record: Session | None = None

    @property
    def owner(self) -> str | None:
        """Id of the loaded session's user, who may have logged in at another backend."""
        self.keys()  # loads the session, if it was not loaded yet
        return None if self._record is None else _user_of(self._record)

    def load(self) -> dict[str, Any]:
        """Return the data. Raises SessionsUnavailable."""
        return _carry(self._loading())

    async def aload(self) -> dict[str, Any]:
        """Return the data, as :meth:`load` does."""
        return await _acarry(self._loading())

    def exists(self, session_key: str | None) -> bool:
        """Return True for the key of a live session."""
        return _carry(_existing(session_key))

    async def aexists(self, session_key: str | None) -> bool:
        """Return True for the key of a live session."""
        return await _acarry(_existing(session_key))

    def create(self) -> None:
        """Begin a session without data, under a new key."""
        _carry(self._creating())

    async def acreate(self) -> None:
        """Begin a session without data, under a new key."""
        await _acarry(self._creating())

    def save(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  Django's signature
        """Store the data.

        Raises:
            UpdateError: the session was ended meanwhile.
            TypeError, SessionRefused: a value is not plain JSON, or all are over 64 KiB.
            SessionsUnavailable: Redis did not reply.
        """
        _carry(self._saving(must_create=must_create))

    async def asave(self, must_create: bool = False) -> None:  # noqa: FBT001, FBT002  Django's signature
        """Store the data, as :meth:`save` does."""
        await _acarry(self._saving(must_create=must_create))

    def delete(self, session_key: str | None = None) -> None:
        """End the session of a key, by default this one."""
        _carry(self._deleting(session_key))

    async def adelete(self, session_key: str | None = None) -> None:
        """End the session of a key, by default this one."""
        await _acarry(self._deleting(session_key))

    def cycle_key(self) -> None:
        """Give the session a new key; the old one ends at once."""
        _carry(self._cycling())

    async def acycle_key(self) -> None:
        """Give the session a new key; the old one ends at once."""
        await _acarry(self._cycling())

    @classmethod
    def clear_expired(cls) -> None:
        """Do nothing: Redis removes sessions when they end."""

    @classmethod
    async def aclear_expired(cls) -> None:
        """Do nothing: Redis removes sessions when they end."""

    def _loading(self) -> Steps[dict[str, Any]]:
        place = place_in(self.session_key)
        found = None if place is None else (yield calls.load(place))
        if found is None or found.user == calls.SERVICE_USER:
            self._session_key, self._record = None, None
            return {}
        self._record = found
        return self._opened(found)

    def _creating(self) -> Steps[None]:
        self._session_cache: dict[str, Any] = {}
        yield from self._beginning({}, None)
        self.modified = True

    def _saving(self, *, must_create: bool) -> Steps[None]:
        data = yield from self._data(no_load=must_create)
        record = None if must_create else self._record
        if record is None:
            yield from self._beginning(data, data.get(SESSION_KEY))
        elif _changes_hands(record, data):
            yield from self._beginning(data, data.get(SESSION_KEY))
            yield calls.revoke(record.place)
        elif data.get(EXPIRY) != record.data.get(EXPIRY):
            yield from self._moving(record, data)
        else:
            yield from self._writing(record, change_between(record.data, data))

    def _data(self, *, no_load: bool) -> Steps[dict[str, Any]]:
        """Return the data as JSON has it; the cache stays as the application filled it."""
        if not hasattr(self, "_session_cache"):
            self._session_cache = {} if no_load or self.session_key is None else (yield from self._loading())
        return self._plain(self._session_cache)

    def _beginning(self, data: dict[str, Any], owner: str | None) -> Steps[None]:
        age = timedelta(seconds=self.get_expiry_age(expiry=data.get(EXPIRY)))
        idle = max(INSTANT, age)
        fixed = isinstance(data.get(EXPIRY), str)  # set_expiry had a datetime, or a timedelta
        absolute = idle if fixed else max(idle, configuration().session_absolute)
        if owner is None:
            begun = yield anonymous.create(data, idle=idle, absolute=absolute)
        else:
            begun = yield calls.create(owner, data, label="", idle=idle, absolute=absolute, cap=0)
        self._session_key, self._record = begun
        if age <= timedelta(0):  # it has ended already
            yield calls.revoke(begun[1].place)

    def _moving(self, record: Session, data: dict[str, Any]) -> Steps[None]:
        """Begin the session again with another expiry, which cannot be changed in a stored session."""
        if not (yield calls.revoke(record.place)):
            raise UpdateError
        yield from self._beginning(data, _user_of(record))

    def _writing(self, record: Session, change: Change) -> Steps[None]:
        if not change and (yield calls.load(record.place)) is not None:
            return
        try:
            self._record = yield calls.save(record, change.applied_to(record.data))
        except SessionConflict as conflict:
            yield from self._writing(conflict.current, change)
            self._session_cache = self._opened(self._record or conflict.current)
        except SessionGone:
            raise UpdateError from None

    def _deleting(self, session_key: str | None) -> Steps[None]:
        place = place_in(session_key or self.session_key)
        if place is not None:
            yield calls.revoke(place)

    def _cycling(self) -> Steps[None]:
        data = yield from self._data(no_load=False)
        record = self._record
        if record is None or _user_of(record) is None:
            yield from self._beginning(data, data.get(SESSION_KEY))
            if record is not None:
                yield calls.revoke(record.place)
        else:
            yield from self._rotating()
        self.modified = True

    def _rotating(self) -> Steps[None]:
        """Give a user's session a new token. An ended session stays ended; the next save raises."""
        try:
            rotated = yield calls.rotate(calls.known_place(str(self.session_key)), grace=timedelta(0))
        except SessionGone:
            return
        if rotated is not None:
            self._session_key, self._record = rotated

    def _plain(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return the data as SESSION_SERIALIZER writes it."""
        try:
            plain = json.loads(self.serializer().dumps(data))
        except ValueError as error:
            raise ImproperlyConfigured(f"SESSION_SERIALIZER: must write JSON ({error})") from None
        return dict(plain)

    def _opened(self, record: Session) -> dict[str, Any]:
        """Return a copy of a record's data, as SESSION_SERIALIZER reads it."""
        if f"{self.serializer.__module__}.{self.serializer.__qualname__}" == JSON_SERIALIZER:
            return deepcopy(dict(record.data))
        return dict(self.serializer().loads(json.dumps(dict(record.data)).encode("latin-1")))


JSON_SERIALIZER = "django.core.signing.JSONSerializer"


def place_in(session_key: str | None) -> SessionPlace | None:
    """Return the place of a session by its key, of a user or anonymous; None for any other text."""
    return None if session_key is None else place_of(session_key) or anonymous_place_of(session_key)


def _user_of(record: Session) -> str | None:
    return None if record.user.startswith(calls.ANONYMOUS) else record.user


def _changes_hands(record: Session, data: dict[str, Any]) -> bool:
    """Return True if a user logged in or out here since the record; a log-in at another backend does not count."""
    before, now = record.data.get(SESSION_KEY), data.get(SESSION_KEY)
    return now != before or (now is not None and now != _user_of(record))


def _existing(session_key: str | None) -> Steps[bool]:
    place = place_in(session_key)
    return place is not None and (yield calls.load(place)) is not None


def _carry(steps: Steps[Result]) -> Result:
    store = sessions()
    try:
        operation = next(steps)
        while True:
            try:
                result = store.run(operation)
            except Exception as error:  # noqa: BLE001  the steps know which errors they expect
                operation = steps.throw(error)
            else:
                operation = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's result is any


async def _acarry(steps: Steps[Result]) -> Result:
    store = async_sessions()
    try:
        operation = next(steps)
        while True:
            try:
                result = await store.run(operation)
            except Exception as error:  # noqa: BLE001  the steps know which errors they expect
                operation = steps.throw(error)
            else:
                operation = steps.send(result)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # a generator's result is any
