"""Texts about schedules, in Spanish and English."""

from collections.abc import Collection, Mapping
from itertools import product

from jobs.schedule import Schedule
from ops.language import Language

HEADS: Mapping[Language, tuple[str, ...]] = {
    "en": ("NAME", "KIND", "LANE", "SCHEDULE", "WORKERS", "LAST (UTC)", "NEXT (UTC)"),
    "es": ("NOMBRE", "TIPO", "CARRIL", "HORARIO", "WORKERS", "ÚLTIMA (UTC)", "PRÓXIMA (UTC)"),
}
RUNS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "none": "No live worker has a schedule, and none has ticked yet.",
        "unserved": "no live worker has it",
        "queued": "{name} is queued once, as by a tick; its schedule goes on as before.",
        "known": "{name} was queued within this minute already; nothing was done.",
        "unfinished": "The job of the last tick of {name} has not ended; nothing was done.",
    },
    "es": {
        "none": "Ningún worker vivo tiene horarios, y ninguno se ha cumplido todavía.",
        "unserved": "ningún worker vivo lo tiene",
        "queued": "{name} está en la cola una vez, como en su hora; su horario sigue como antes.",
        "known": "{name} ya entró en la cola en este minuto; no se ha hecho nada.",
        "unfinished": "El trabajo de la última hora de {name} no ha terminado; no se ha hecho nada.",
    },
}
_WORDS: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "days": "Mon Tue Wed Thu Fri Sat Sun",
        "months": "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec",
        "day": "on day {days}",
        "weekday": "on {days}",
        "month": "in {months}",
        "daily": "every day",
        "at": "at {times}",
        "hours": "hour {hours}",
        "minutes": "minute {minutes}",
        "minutely": "every minute",
        "seconds": "second {seconds}",
    },
    "es": {
        "days": "lun mar mié jue vie sáb dom",
        "months": "ene feb mar abr may jun jul ago sep oct nov dic",
        "day": "el día {days}",
        "weekday": "los {days}",
        "month": "en {months}",
        "daily": "cada día",
        "at": "a las {times}",
        "hours": "hora {hours}",
        "minutes": "minuto {minutes}",
        "minutely": "cada minuto",
        "seconds": "segundo {seconds}",
    },
}
_MOST_TIMES = 6


def schedule_text(schedule: Schedule, language: Language = "en") -> str:
    """Return a schedule in words.

    >>> schedule_text(Schedule(hour=2, minute=30, weekday=(0, 2), zone="Europe/Madrid"))
    'on Mon, Wed at 02:30 (Europe/Madrid)'
    >>> schedule_text(Schedule(minute=(0, 30))), schedule_text(Schedule(day=1, month=1, hour=0, minute=0), "es")
    ('every day minute 0, 30 (UTC)', 'el día 1 en ene a las 00:00 (UTC)')
    """
    words = _WORDS[language]
    return f"{_date_text(schedule, words)} {_time_text(schedule, words)} ({schedule.zone})"


def _date_text(schedule: Schedule, words: Mapping[str, str]) -> str:
    days, months = words["days"].split(), words["months"].split()
    parts = []
    if schedule.weekday is not None:
        parts.append(words["weekday"].format(days=", ".join(days[one] for one in _values(schedule.weekday))))
    if schedule.day is not None:
        parts.append(words["day"].format(days=_list(schedule.day)))
    if schedule.month is not None:
        parts.append(words["month"].format(months=", ".join(months[one - 1] for one in _values(schedule.month))))
    return " ".join(parts) or words["daily"]


def _time_text(schedule: Schedule, words: Mapping[str, str]) -> str:
    hours, minutes, seconds = schedule.hour, schedule.minute, _values(schedule.second)
    if hours is not None and minutes is not None and seconds == [0]:
        times = [f"{hour:02}:{minute:02}" for hour, minute in product(_values(hours), _values(minutes))]
        if len(times) <= _MOST_TIMES:
            return words["at"].format(times=", ".join(times))
    parts = [words["hours"].format(hours=_list(hours))] if hours is not None else []
    parts.append(words["minutely"] if minutes is None else words["minutes"].format(minutes=_list(minutes)))
    parts += [words["seconds"].format(seconds=_list(seconds))] if seconds != [0] else []
    return " ".join(parts)


def _values(field: int | Collection[int]) -> list[int]:
    return [field] if isinstance(field, int) else sorted(field)


def _list(field: int | Collection[int]) -> str:
    return ", ".join(map(str, _values(field)))
