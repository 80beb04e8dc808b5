"""Old payloads brought up to date, one version at a time: a pure function.

A payload outlives the code that wrote it: a job may wait for days while its handler is deployed anew. An upcaster
takes the payload of one version and returns that of the next; the chain of them is applied in order, so that a
handler only ever sees its own version. What cannot be brought up to date is dead with the reason, kept with its
payload, and may be revived when an upcaster is there.
"""

from collections.abc import Callable, Mapping

Payload = dict[str, object]
Upcasters = Mapping[int, Callable[[Payload], Mapping[str, object]]]
"""From a version to what makes the next one of it."""


class CannotUpcast(Exception):
    """There is no way from the payload's version to the handler's, or one step failed."""


def upcast(payload: Payload, version: int, *, to: int, upcasters: Upcasters) -> Payload:
    """The payload as of version ``to``.

    Args:
        version: of the payload, at most ``to``.

    Raises:
        CannotUpcast: a step is missing, or it raised.

    Example:
        >>> rename = {1: lambda old: {"text": old["body"]}, 2: lambda old: {**old, "urgent": False}}
        >>> upcast({"body": "Hola"}, 1, to=3, upcasters=rename)
        {'text': 'Hola', 'urgent': False}
    """
    for step in range(version, to):
        upcaster = upcasters.get(step)
        if upcaster is None:
            raise CannotUpcast(f"there is no upcaster from version {step} of the payload to {step + 1}")
        try:
            payload = dict(upcaster(payload))
        except Exception as error:
            words = f"{type(error).__name__}: {error}"
            raise CannotUpcast(
                f"the upcaster from version {step} of the payload to {step + 1} failed: {words}"
            ) from error
    return payload


def check_upcasters(upcasters: Upcasters, *, version: int) -> None:
    """Refuse a chain with a hole, or one that does not end at the handler's version.

    Raises:
        ValueError: naming the step that is missing or too much.
    """
    if version < 1:
        raise ValueError(f"version: {version} is no version; the first is 1")
    oldest = min(upcasters, default=version)
    missing = set(range(oldest, version)) - set(upcasters)
    beyond = [step for step in upcasters if not 1 <= step < version]
    if missing or beyond:
        raise ValueError(
            f"upcasters: of version {version} need every step from {oldest} on, and none else: {sorted(upcasters)}"
        )
