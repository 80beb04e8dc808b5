"""Texts for reasons and forecasts, in Spanish and English, shared by the terminal and the page."""

from collections.abc import Iterator
from datetime import datetime

from ops.depth.drain import Reason
from ops.depth.forecast import Drain
from ops.durations import duration_text
from ops.lanes.hold import Hold
from ops.language import Language

_DRAIN: dict[Language, dict[str, str]] = {
    "en": {
        "empty": "empty",
        "delayed": "nothing is due; the last delayed job is in {ends}",
        "held": "not while held",
        "held_limit": "not while limit {limit} is held",
        "until": ", for {until}",
        "no_worker": "no worker",
        "stuck": "stuck: nothing has finished for {idle}",
        "in": "in {time}",
        "growing": "never: growing by {growth}/min",
        "once": "; {time} once arrivals stop",
        "level": "never: as many arrive as leave",
        "unknown": "unknown: nothing has finished lately",
        "limit": " (limit {limit})",
        "later": "; the last delayed job in {ends}",
    },
    "es": {
        "empty": "vacío",
        "delayed": "no hay nada que hacer ya; el último trabajo aplazado, en {ends}",
        "held": "no mientras esté retenido",
        "held_limit": "no mientras esté retenido el límite {limit}",
        "until": ", durante {until}",
        "no_worker": "sin worker",
        "stuck": "atascado: no termina nada desde hace {idle}",
        "in": "en {time}",
        "growing": "nunca: crece {growth}/min",
        "once": "; {time} cuando deje de llegar trabajo",
        "level": "nunca: entra tanto como sale",
        "unknown": "no se sabe: nada ha terminado últimamente",
        "limit": " (límite {limit})",
        "later": "; el último trabajo aplazado, en {ends}",
    },
}

_REASON: dict[Language, dict[Reason, str]] = {
    "en": {
        "held": "held",
        "no_worker": "no live worker serves this lane",
        "limits": "no job may begin now under its limits",
        "slots_busy": "all {slots} slots are in use",
        "ceiling": "slots are free, but the workers run as many jobs as they may (MOMENTUS_WORKER__MAX_RUNNING)",
        "not_claiming": "slots are free, but no worker claims jobs: it is stopping, or cannot reach Redis",
        "quiet": "its workers are quiet or stopping, and claim no new jobs (./run ops workers list)",
    },
    "es": {
        "held": "retenido",
        "no_worker": "ningún worker vivo atiende este carril",
        "limits": "sus límites no permiten empezar ningún trabajo ahora",
        "slots_busy": "los {slots} puestos están ocupados",
        "ceiling": "hay puestos libres, pero los workers ya hacen cuanto pueden (MOMENTUS_WORKER__MAX_RUNNING)",
        "not_claiming": "hay puestos libres, pero ningún worker toma trabajo: se está parando o no llega a Redis",
        "quiet": "sus workers están en pausa o parando, y no toman trabajos nuevos (./run ops workers list)",
    },
}

_HELD: dict[Language, tuple[str, str]] = {
    "en": ("held until it is released", "held until {until} UTC"),
    "es": ("retenido hasta que se libere", "retenido hasta {until} UTC"),
}

_LOSS: dict[Language, str] = {
    "en": "DATA LOST: Redis lost the data of {group}, noticed at {at} UTC{more}; about {jobs} unfinished jobs "
    "are lost. See docs/operations.md; then: ./run ops acknowledge-loss",
    "es": "DATOS PERDIDOS: Redis perdió sus datos de {group}, visto {at} UTC{more}; faltan unos {jobs} "
    "trabajos sin terminar. Véase docs/es/operations.md; después: ./run ops acknowledge-loss",
}
_MORE: dict[Language, str] = {"en": " ({times} times)", "es": " ({times} veces)"}


def drain_text(drain: Drain, language: Language = "en") -> str:
    """Return a forecast as text.

    >>> drain_text(Drain(state="growing", growth=40, seconds=90))
    'never: growing by 40/min; 1 min 30 s once arrivals stop'
    >>> drain_text(Drain(state="in", seconds=60, ends_s=7200, constraint="delayed"))
    'in 1 min; the last delayed job in 2 h'
    """
    words = _DRAIN[language]
    return "".join(words[part] for part in _drain_parts(drain)).format(
        time=_text_of(drain.seconds),
        ends=_text_of(drain.ends_s),
        until=_text_of(drain.until_s),
        idle=duration_text(drain.idle_s),
        growth=drain.growth,
        limit=drain.limit,
    )


def _drain_parts(drain: Drain) -> Iterator[str]:
    """Yield the names of the texts that make up that of a forecast."""
    if drain.state == "held":
        yield "held_limit" if drain.limit else "held"
        if drain.until_s is not None:
            yield "until"
        return
    yield drain.state
    if drain.limit:
        yield "limit"
    if drain.state == "growing" and drain.seconds is not None:
        yield "once"
    if drain.constraint == "delayed" and drain.state == "in":
        yield "later"


def _text_of(seconds: float | None) -> str:
    return "" if seconds is None else duration_text(seconds)


def reason_text(reason: Reason | None, *, slots: int, language: Language = "en") -> str | None:
    """Return the reason why ready jobs wait as text; None without one."""
    return None if reason is None else _REASON[language][reason].format(slots=slots)


def held_text(held: Hold, language: Language = "en") -> str:
    """Return a hold as text: its end and its reason.

    >>> held_text(Hold(until=None, reason="the provider asks for a pause"))
    'held until it is released: the provider asks for a pause'
    """
    for_ever, until = _HELD[language]
    text = for_ever if held.until is None else until.format(until=f"{held.until:%Y-%m-%d %H:%M:%S}")
    return f"{text}: {held.reason}" if held.reason else text


def loss_text(*, group: str, at: datetime, times: int, jobs: int, language: Language = "en") -> str:
    """Return a data loss as text: the group, the instant at which it was noticed, and the remedy."""
    more = _MORE[language].format(times=times) if times > 1 else ""
    return _LOSS[language].format(group=group, at=f"{at:%Y-%m-%d %H:%M:%S}", more=more, jobs=jobs)


def why_text(reason: Reason | None, *, slots: int, held: Hold | None, language: Language = "en") -> str | None:
    """Return why a lane waits: its hold, even if no job is ready, or else the reason."""
    return reason_text(reason, slots=slots, language=language) if held is None else held_text(held, language)
