"""Discarded jobs, kept aside for ten minutes, and their return.

    discarded ──> aside (payload, history, place) ──restore──> dead or waiting, as it was
                    └── ten minutes ──> gone for good

Each change has a number, that of its entry in the audit log; what it discarded is restored under it. While a job
is aside it does not exist: its id and its key may be used again, and then it cannot return (`taken`). Jobs of the
ledger are not kept, since their end goes to Postgres. A restored job counts as accepted once more, so that no
count ever falls.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis

from jobs.lanes import GROUPS
from ops.jobs.group import run_script
from producers.entry import take_out
from producers.keys import LaneKeys
from producers.link.script import SCRIPTS, read_script

RestoreOutcome = Literal["restored", "taken", "vanished", "ledger"]
LIFE = timedelta(minutes=10)
AT_ONCE = 25
"""Jobs of one script call: about 80 us each, so that Redis serves other clients again within 2 ms."""


def undo_key(tag: str, number: str) -> str:
    """Return the key of the LIST of the jobs that a change has discarded."""
    return f"momentus:{tag}:undo:{number}"


async def discard_some(
    redis: Redis, keys: LaneKeys, job_ids: Sequence[str | bytes], lanes: Sequence[str], *, number: str
) -> list[tuple[str, str]]:
    """Discard jobs of one group and keep them aside; return outcome and lane of each, as ``take_out`` does.

    Args:
        keys: keys of any lane of the group.
        lanes: lanes to search.
        number: identifies the change.

    Raises:
        RedisError, OSError: Redis did not answer; the call may be repeated.
    """
    outcomes = list[tuple[str, str]]()
    life = round(LIFE / timedelta(milliseconds=1))
    names = [*take_out(keys, "", "discarded").keys, undo_key(keys.tag, number)]
    for first in range(0, len(job_ids), AT_ONCE):
        some = job_ids[first : first + AT_ONCE]
        arguments = [keys.tag, life, len(lanes), *lanes, *some]
        reply: list[bytes] = await redis.register_script(_discard_source())(keys=names, args=arguments)
        told = [one.decode() for one in reply]
        outcomes += zip(told[::2], told[1::2], strict=True)
    return outcomes


async def restore_jobs(redis: Redis, number: str) -> Counter[RestoreOutcome]:
    """Restore what a change has discarded; return the number of jobs by outcome, none if nothing is aside.

    Raises:
        RedisError, OSError: Redis did not answer; a second call restores the rest.
    """
    outcomes = Counter[RestoreOutcome]()
    for group in GROUPS:
        keys = LaneKeys(group)
        names = [undo_key(keys.tag, number), keys.counters, keys.adopted, keys.limited, keys.keyed]
        while told := await run_script(redis, "restore", names, [keys.tag, AT_ONCE]):
            outcomes.update(one.decode() for one in told)
    return outcomes


@cache
def _discard_source() -> str:
    """Return the script with take_out.lua as a function before it; its first line stays the first."""
    head, _, body = (Path(__file__).parent / "scripts/discard.lua").read_text(encoding="utf-8").partition("\n")
    _, _, inner = read_script(SCRIPTS, "take_out").partition("\n")
    return f"{head}\nlocal function take_out(KEYS, ARGV)\n{inner}\nend\n\n{body}"
