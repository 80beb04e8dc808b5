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
        "queued": "{name} is queued once, as by a tick; its schedule continues as before.",
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
        "minutely": "every minute",
        "minutely_in": "every minute of hour {hours}",
        "hourly": "at minute {minutes} of every hour",
        "hourly_in": "at minute {minutes} of hour {hours}",
        "seconds": "at second {seconds}",
    },
    "es": {
        "days": "lun mar mié jue vie sáb dom",
        "months": "ene feb mar abr may jun jul ago sep oct nov dic",
        "day": "el día {days}",
        "weekday": "los {days}",
        "month": "en {months}",
        "daily": "cada día",
        "at": "a las {times}",
        "minutely": "cada minuto",
        "minutely_in": "cada minuto de la hora {hours}",
        "hourly": "en el minuto {minutes} de cada hora",
        "hourly_in": "en el minuto {minutes} de la hora {hours}",
        "seconds": "en el segundo {seconds}",
    },
}
_MOST_TIMES = 6


def schedule_text(schedule: Schedule, language: Language = "en") -> str:
    """Return a schedule in words.

    >>> schedule_text(Schedule(hour=2, minute=30, weekday=(0, 2), zone="Europe/Madrid"))
    'on Mon, Wed at 02:30 (Europe/Madrid)'
    >>> schedule_text(Schedule(minute=(0, 30))), schedule_text(Schedule(day=1, month=1, hour=0, minute=0), "es")
    ('at minute 0, 30 of every hour (UTC)', 'el día 1 en ene a las 00:00 (UTC)')
    >>> schedule_text(Schedule(weekday=0, second=(0, 30))), schedule_text(Schedule(hour=range(8), minute=5))
    ('on Mon every minute at second 0, 30 (UTC)', 'every day at minute 5 of hour 0, 1, 2, 3, 4, 5, 6, 7 (UTC)')
    """
    words = _WORDS[language]
    parts = [_date_text(schedule, words), _time_text(schedule, words), f"({schedule.zone})"]
    return " ".join(part for part in parts if part)


def _date_text(schedule: Schedule, words: Mapping[str, str]) -> str:
    days, months = words["days"].split(), words["months"].split()
    parts = []
    if schedule.weekday is not None:
        parts.append(words["weekday"].format(days=", ".join(days[one] for one in _values(schedule.weekday))))
    if schedule.day is not None:
        parts.append(words["day"].format(days=_list(schedule.day)))
    if schedule.month is not None:
        parts.append(words["month"].format(months=", ".join(months[one - 1] for one in _values(schedule.month))))
    if not parts and schedule.hour is not None:
        parts.append(words["daily"])
    return " ".join(parts)


def _time_text(schedule: Schedule, words: Mapping[str, str]) -> str:
    hours, minutes, seconds = schedule.hour, schedule.minute, _values(schedule.second)
    if hours is not None and minutes is not None and seconds == [0]:
        times = [f"{hour:02}:{minute:02}" for hour, minute in product(_values(hours), _values(minutes))]
        if len(times) <= _MOST_TIMES:
            return words["at"].format(times=", ".join(times))
    name = ("minutely" if minutes is None else "hourly") + ("" if hours is None else "_in")
    text = words[name].format(
        minutes="" if minutes is None else _list(minutes), hours="" if hours is None else _list(hours)
    )
    return text if seconds == [0] else f"{text} {words['seconds'].format(seconds=_list(seconds))}"


def _values(field: int | Collection[int]) -> list[int]:
    return [field] if isinstance(field, int) else sorted(field)


def _list(field: int | Collection[int]) -> str:
    return ", ".join(map(str, _values(field)))
