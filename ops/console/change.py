"""A change by a form: checked, noted in the audit log, carried out, and noted again with its outcome.

The order matters: without the first note nothing is changed, so no change goes unseen. The browser is then
redirected to the note's page, so that a reload does not repeat the change.
"""

from collections.abc import Mapping
from dataclasses import replace

from redis.exceptions import RedisError

from ops.audit.log import AuditEntry, Outcome, begin_entry, note_entry
from ops.command import CommandRefused, CommandResult, Tools
from ops.command_parser import quoted_texts
from ops.console.access import Operator
from ops.console.actions import ACTIONS, audit_target, reason_of, run_action
from ops.language import Language
from ops.table import printable

_TEXT_LIMIT = 1000


async def make_change(tools: Tools, name: str, fields: Mapping[str, str], operator: Operator) -> AuditEntry:
    """Carry out an action for an operator with the right to it; return its audit entry with the outcome.

    Raises:
        CommandRefused: the operator's reason is invalid; nothing is noted or changed.
        RedisError, OSError: Redis did not answer; it may or may not be done.
    """
    action = ACTIONS[name]
    entry = begin_entry(
        who=operator.name,
        way=operator.way,
        role=operator.role or "",
        action=name,
        target=printable(audit_target(action, fields))[:_TEXT_LIMIT],
        why=reason_of(fields),
    )
    await note_entry(tools.redis, entry)
    try:
        result = await run_action(action, replace(tools, change=entry.number), fields, operator)
    except CommandRefused as refusal:
        return await end_entry(tools, entry, "refused", refusal_text(refusal, tools.language))
    except (RedisError, OSError) as error:
        await _note_failure(tools, entry, error)
        raise
    return await end_entry(tools, entry, outcome_of(result), result.text)


def outcome_of(result: CommandResult) -> Outcome:
    """Return the outcome of a command that was not refused."""
    return "done" if result.done else "nothing"


def refusal_text(refusal: CommandRefused, language: Language) -> str:
    """Return a refusal in this language."""
    return quoted_texts(str(refusal), language)


async def end_entry(tools: Tools, entry: AuditEntry, outcome: Outcome, text: str) -> AuditEntry:
    """Note the outcome of a change, and return the entry with it."""
    ended = replace(entry, outcome=outcome, text=text[:_TEXT_LIMIT])
    await note_entry(tools.redis, ended)
    return ended


async def _note_failure(tools: Tools, entry: AuditEntry, error: Exception) -> None:
    """Try to note why the outcome is unknown; Redis may still not answer."""
    try:
        await note_entry(tools.redis, replace(entry, text=f"{type(error).__name__}"))
    except (RedisError, OSError):
        return
