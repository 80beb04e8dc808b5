"""Tables for a terminal: aligned columns, without characters that could move the cursor."""

from collections.abc import Sequence

_GAP = "  "


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, left: set[int]) -> str:
    """Align rows in columns as wide as their widest cell, with numbers to the right.

    Args:
        left: the columns, counted from 0, with their cells aligned left.
    """
    cells = [[printable(cell) for cell in row] for row in (heads, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        _GAP.join(
            cell.ljust(width) if place in left else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )


def printable(text: str) -> str:
    """Return the text on one line, with a question mark for each character that a terminal might obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.splitlines()))
