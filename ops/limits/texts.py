"""Texts about limits, in Spanish and English."""

from ops.depth.lane_limits import LaneLimits
from ops.depth.texts import held_text
from ops.durations import duration_text
from ops.language import Language
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


def state_text(state: LimitState, language: Language = "en") -> str:
    """Return the present state of a limit, and why it has no more room."""
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
    """Return a limit's key and its present state."""
    return _WORDS[language]["limit"].format(key=state.key, state=state_text(state, language))


def lane_limit_texts(limits: LaneLimits, language: Language = "en") -> list[str]:
    """List the limits that delay a lane: all that it needs if none has room, else those held or slowed."""
    delaying = [one for one in limits.states if limits.used_up or one.held or not one.readable or one.pace < 1]
    texts = [limit_text(one, language) for one in delaying]
    if limits.held_back:
        texts.append(_WORDS[language]["held_back"].format(count=limits.held_back))
    return texts
