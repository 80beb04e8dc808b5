"""Two kinds for the event loop of one worker: for one the kernel kills it, for lack of memory; one is harmless."""

import asyncio
import os
import signal
from dataclasses import dataclass

from momentus_client.jobs import Job, handles


@dataclass(frozen=True)
class Heavy(Job, kind="heavy.compute"):
    """Ends its process after some seconds, as the kernel does."""

    seconds: float


@handles(Heavy)
async def compute(heavy: Heavy) -> None:
    """Compute in vain."""
    await asyncio.sleep(heavy.seconds)
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Light(Job, kind="light.compute"):
    """Runs for some seconds."""

    seconds: float


@handles(Light)
async def compute_little(light: Light) -> None:
    """Compute."""
    await asyncio.sleep(light.seconds)
