"""Durations as text for operators; `durations` of the root parses them."""

_UNITS = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
_LONGEST_S = 1000 * 86_400


def duration_text(seconds: float) -> str:
    """Return a duration in its two largest units, which both languages write alike.

    >>> duration_text(0.4), duration_text(200), duration_text(90_000)
    ('0 s', '3 min 20 s', '1 d 1 h')
    """
    if seconds >= _LONGEST_S:
        return "> 1000 d"
    rest = round(seconds)
    for place, (unit, size) in enumerate(_UNITS):
        if rest >= size:
            more = rest % size
            smaller, small = _UNITS[min(place + 1, len(_UNITS) - 1)]
            return f"{rest // size} {unit}" + (f" {more // small} {smaller}" if more >= small else "")
    return "0 s"
