"""Parser of Redis's permission errors: finds the right that a user lacks. No I/O.

A plain command is rejected with NOPERM. A command inside a script is rejected with ERR by most versions, with
different texts:

    NOPERM User momentus-reader has no permissions to run the 'client|tracking' command
    NOPERM No permissions to access a key
    ERR ACL failure in script: User momentus-producer has no permissions to run the 'hexists' command script: …
    ERR The user executing the script can't run this command or subcommand script: …
    ERR The user executing the script can't access at least one of the keys mentioned in the command arguments …
"""

import re

from redis.exceptions import AuthenticationError, NoPermissionError

_COMMAND = re.compile(r"the '([^']{1,64})' command")
_CODES = ("NOPERM", "NOAUTH", "WRONGPASS", "ACL failure in script", "The user executing the script can't")
_LOG_IN = ("NOAUTH", "WRONGPASS")


def missing_right(error: object) -> str:
    """Return the missing right that an error reports, as a text for operators; empty for any other error.

    Example:
        >>> missing_right("NOPERM User x has no permissions to run the 'client|tracking' command")
        '+client|tracking'
        >>> missing_right("ERR unknown command")
        ''
    """
    said = str(error)
    if not (isinstance(error, NoPermissionError | AuthenticationError) or any(code in said for code in _CODES)):
        return ""
    if isinstance(error, AuthenticationError) or said.startswith(_LOG_IN):
        return "a user and a password that Redis accepts"
    if found := _COMMAND.search(said):
        return f"+{found[1]}"
    if "channel" in said:
        return "a channel"
    return "a command inside a script" if "command or subcommand" in said else "a key"
