"""Texts about limits, in Spanish and English."""

from ops.depth.lane_limits import LaneLimits
from ops.depth.texts import held_text
from ops.durations import duration_text
from ops.language import Language
from ops.limits.known import RateUse
from producers.limits.limit import Rate, Window
from producers.limits.limits import LimitState

_WORDS: dict[Language, dict[str, str]] = {
    "en": {
        "unreadable": "cannot be read, so no job begins under it; define it again: ./run ops limit set",
        "unbounded": "no bounds",
        "room": "{room} may begin now",
        "next": "used up; the next may begin in {time}",
        "full": "all places are in use",
        "slowed": "slowed down to {pace:.0%}",
        "limit": "limit {key}: {state}",
        "held_back": "{count} waiting jobs are held back by a limit of their own; see ./run ops limit list",
    },
    "es": {
        "unreadable": "no se puede leer, así que no empieza ningún trabajo; hay que definirlo de nuevo: ./run "
        "ops limit set",
        "unbounded": "sin límite",
        "room": "pueden empezar {room} ahora",
        "next": "agotado; el próximo puede empezar en {time}",
        "full": "todas las plazas están ocupadas",
        "slowed": "frenado al {pace:.0%}",
        "limit": "límite {key}: {state}",
        "held_back": "{count} trabajos esperan por un límite propio; véase ./run ops limit list",
    },
}
HEADS: dict[Language, tuple[str, ...]] = {
    "en": ("KEY", "AT MOST", "AT ONCE", "RESERVE", "RUNNING", "BLOCKED", "NOW"),
    "es": ("CLAVE", "COMO MÁXIMO", "A LA VEZ", "RESERVA", "EN CURSO", "BLOQUEADOS", "AHORA"),
}
RESULTS: dict[Language, dict[str, str]] = {
    "en": {
        "none": "No limits are defined.",
        "urgent": " (urgent)",
        "needs": "{lane}{urgent}: needs {keys}",
        "or": " or ",
        "no_key": "none",
        "rate": "{rate}, {at_once} at once",
        "use": "{rate}: {used} used, {room} may begin",
        "next": "{rate}: {used} used, the next may begin in {time}",
        "all": "all",
        "set": "{key} is set: {state}. It lasts until a worker that defines the same key starts.",
        "removed": "{key} no longer has bounds.",
        "not_defined": "{key} is not defined; nothing was done.",
        "unchanged": "{key} already has this hold; nothing was done.",
        "held": "{key} is {held}. Running jobs continue.\nRelease it: ./run ops limit release {key}",
        "released": "{key} is released.",
        "not_held": "{key} was not held.",
    },
    "es": {
        "none": "No hay ningún límite definido.",
        "urgent": " (urgente)",
        "needs": "{lane}{urgent}: necesita {keys}",
        "or": " o ",
        "no_key": "ninguno",
        "rate": "{rate}, {at_once} a la vez",
        "use": "{rate}: {used} usados, pueden empezar {room}",
        "next": "{rate}: {used} usados, el próximo puede empezar en {time}",
        "all": "todos",
        "set": "{key} queda definido: {state}. Dura hasta que arranque un worker que defina la misma clave.",
        "removed": "{key} ya no tiene límites.",
        "not_defined": "{key} no está definido; no se ha hecho nada.",
        "unchanged": "{key} ya está retenido así; no se ha hecho nada.",
        "held": "{key} está {held}. Los trabajos en curso continúan.\nLibérelo: ./run ops limit release {key}",
        "released": "{key} está liberado.",
        "not_held": "{key} no estaba retenido.",
    },
}
"""Results of ``ops limit``."""


def rate_text(rate: Rate | Window, language: Language = "en") -> str:
    """Return a rate as it was given: the maximum in any window.

    >>> from datetime import timedelta
    >>> rate_text(Rate.within(30, timedelta(minutes=1)))
    '30/1m, 3 at once'
    """
    words = RESULTS[language]
    at_once = words["all"] if isinstance(rate, Window) else rate.burst
    return words["rate"].format(rate=_most_text(rate), at_once=at_once)


def _most_text(rate: Rate | Window) -> str:
    seconds, units = rate.per.total_seconds(), ((86_400, "d"), (3600, "h"), (60, "m"))
    size, unit = next(((size, unit) for size, unit in units if seconds % size == 0), (1, "s"))
    return f"{rate.most}/{seconds / size:g}{unit}"


def use_text(use: RateUse, language: Language = "en") -> str:
    """Return the use of a rate: how much is used, and how many may begin or when the next one may.

    >>> from datetime import timedelta
    >>> minute = timedelta(minutes=1)
    >>> use_text(RateUse(rate=Window(9, minute), used=9, room=0, free_in=timedelta(seconds=40)))
    '9/1m: 9 used, the next may begin in 40 s'
    """
    words, time = RESULTS[language]["use" if use.room else "next"], duration_text(use.free_in.total_seconds())
    return words.format(rate=_most_text(use.rate), used=use.used, room=use.room, time=time)


def state_text(state: LimitState, language: Language = "en") -> str:
    """Return the current state of a limit, and why it has no more room."""
    words = _WORDS[language]
    if state.held is not None:
        text = held_text(state.held, language)
    elif not state.readable:
        text = words["unreadable"]
    elif state.room is None:
        text = words["unbounded"]
    elif state.room:
        text = words["room"].format(room=state.room)
    elif state.free_in is None:
        text = words["full"]
    else:
        text = words["next"].format(time=duration_text(state.free_in.total_seconds()))
    return f"{text}, {words['slowed'].format(pace=state.pace)}" if state.pace < 1 else text


def limit_text(state: LimitState, language: Language = "en") -> str:
    """Return a limit's key and its current state."""
    return _WORDS[language]["limit"].format(key=state.key, state=state_text(state, language))


def lane_limit_texts(limits: LaneLimits, language: Language = "en") -> list[str]:
    """List the limits that delay a lane: all needed ones if none has room, else those held or slowed."""
    delaying = [one for one in limits.states if limits.used_up or one.held or not one.readable or one.pace < 1]
    texts = [limit_text(one, language) for one in delaying]
    if limits.held_back:
        texts.append(_WORDS[language]["held_back"].format(count=limits.held_back))
    return texts
