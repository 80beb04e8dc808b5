"""Upcasting of old payloads to the handler's version, one version at a time: a pure function.

A payload may outlive the code that wrote it: a job may wait for days while a new version of its handler is
deployed. An upcaster takes the payload of one version and returns that of the next. The chain of upcasters is
applied in order, so that a handler sees its own version only. A job that cannot be upcast is dead with the reason
and keeps its payload; an operator may revive it once the upcaster is deployed.
"""

from collections.abc import Callable, Mapping

Payload = dict[str, object]
Upcasters = Mapping[int, Callable[[Payload], Mapping[str, object]]]
"""By version, the function that returns the payload of the next version."""


class CannotUpcast(Exception):
    """A step from the payload's version to the handler's is missing or failed."""


def upcast_payload(payload: Payload, version: int, *, to: int, upcasters: Upcasters) -> Payload:
    """Return the payload upcast to version ``to``.

    Args:
        version: of the payload, at most ``to``.

    Raises:
        CannotUpcast: a step is missing, or it raised.

    Example:
        >>> rename = {1: lambda old: {"text": old["body"]}, 2: lambda old: {**old, "urgent": False}}
        >>> upcast_payload({"body": "Hola"}, 1, to=3, upcasters=rename)
        {'text': 'Hola', 'urgent': False}
    """
    for step in range(version, to):
        upcaster = upcasters.get(step)
        if upcaster is None:
            raise CannotUpcast(
                f"upcasters: none leads from version {step} to {step + 1}; add one, then revive the job"
            )
        try:
            payload = dict(upcaster(payload))
        except Exception as error:
            cause = f"{type(error).__name__}: {error}"
            raise CannotUpcast(
                f"upcasters: the one from version {step} to {step + 1} failed ({cause}); fix it and revive the job"
            ) from error
    return payload


def check_upcasters(upcasters: Upcasters, *, version: int) -> None:
    """Check that the chain of upcasters is complete and ends at the handler's version.

    Raises:
        ValueError: a step is missing, or belongs to no older version.
    """
    if version < 1:
        raise ValueError(f"version: must be at least 1, not {version}")
    oldest = min(upcasters, default=version)
    missing = set(range(oldest, version)) - set(upcasters)
    beyond = [step for step in upcasters if not 1 <= step < version]
    if missing or beyond:
        raise ValueError(
            f"upcasters: {sorted(upcasters)} must be consecutive versions that end just below version {version}"
        )
