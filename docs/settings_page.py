"""Writer of docs/settings.md from the fields of settings.py: ``./run settings > docs/settings.md``.

A test compares the file with this page, so neither can change alone.
"""  # noqa: INP001  a script beside the pages, not a package

import sys

from settings import PREFIX, allowed_values, each_field, is_secret, show_value

PAGE = """# Settings

Every setting is an environment variable. A process does not start with an unknown variable that starts with
`{prefix}` or with a value that is not allowed; it reports all mistakes at once. A variable that is set but empty
counts as not set.

- A duration is a number and a unit (`250ms`, `10s`, `5m`, `1.5h`, `2d`), as in report and account files and on the
  command line; here also a bare number of seconds (`10`) or ISO 8601 (`PT5M`).
- A secret can come from a file: put the file's name in the variable that ends in `_FILE`. A file that every user
  of the machine can read is refused.

{table}

`./run settings > docs/settings.md` writes this page.
"""


def settings_table() -> str:
    """Return one row of Markdown per variable."""
    rows = ["| Variable | Meaning | Default | Allowed |", "|---|---|---|---|"]
    for name, field in each_field():
        file = f" or `{name}_FILE`" if is_secret(field) else ""
        default, values = show_value(field.default), allowed_values(field)
        rows.append(f"| `{name}`{file} | {field.description} | `{default}` | {values} |")
    return "\n".join(rows)


def settings_page() -> str:
    """Return the whole of docs/settings.md."""
    return PAGE.format(prefix=PREFIX, table=settings_table())


if __name__ == "__main__":
    sys.stdout.write(settings_page())
