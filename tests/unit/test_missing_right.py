"""The right that a refusal is about is named, whoever refuses and however it is worded."""

import pytest
from redis.exceptions import AuthenticationError, NoPermissionError, ResponseError

from producers.rights import missing_right


@pytest.mark.parametrize(
    ("error", "right"),
    [
        (NoPermissionError("this user has no permissions to run the 'client|id' command"), "+client|id"),
        (ResponseError("NOPERM User default has no permissions to run the 'info' command"), "+info"),
        (ResponseError("NOPERM No permissions to access a key"), "a key"),
        (ResponseError("NOPERM No permissions to access a channel"), "a channel"),
        (ResponseError("ERR ACL failure in script: User x has no permissions to run the 'hget' command"), "+hget"),
        (
            ResponseError("ERR The user executing the script can't run this command or subcommand script: 12"),
            "a command inside a script",
        ),
        (
            ResponseError("The user executing the script can't access at least one of the keys mentioned"),
            "a key",
        ),
        (AuthenticationError("invalid username-password pair"), "a user and a password that Redis accepts"),
        (ResponseError("NOAUTH Authentication required."), "a user and a password that Redis accepts"),
        (ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), ""),
        (ResponseError("ERR unknown command 'client'"), ""),
    ],
)
def test_the_right_that_is_missing_is_named(error: Exception, right: str) -> None:
    assert missing_right(error) == right
