"""The mail that everybody sends: a notice with a table, about 5 KiB of HTML and 1 KiB of text."""

SENDER = "no-reply@momentus.example"
_ROWS = 38


def recipient(number: int) -> str:
    """To whom."""
    return f"empleado{number:07d}@example.com"


def subject(number: int) -> str:
    """With letters outside ASCII, as most are."""
    return f"Tarea asignada: revisión del cierre mensual {number}"


def text(number: int) -> str:
    """The plain part."""
    lines = [f"{row + 1}. Cierre mensual, nodo {row}" for row in range(_ROWS - 12)]
    return "\n".join([f"Hola, empleado {number}:", "", "Tienes tareas asignadas.", "", *lines, ""])


def html(number: int) -> str:
    """The HTML part."""
    rows = "".join(
        f'<tr><td style="padding:4px">{row + 1}</td><td style="padding:4px">Cierre mensual, nodo {row}</td>'
        f'<td style="padding:4px">30 de noviembre</td></tr>\n'
        for row in range(_ROWS)
    )
    return f"<html><body><p>Hola, empleado {number}:</p><table>\n{rows}</table></body></html>\n"
