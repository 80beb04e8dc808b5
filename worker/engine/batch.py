"""Questions that many mails ask Redis at about the same time, as one command.

Questions that are asked while a call is under way wait for its reply, and then go as one. So a single mail pays a
round trip, and a thousand at once share a few; a command for each costs more than all the rest of sending a mail.

What can go wrong: the call fails, or gives another number of answers than it was asked questions; all its callers
get that error. No call cancels a caller: a cancellation means that somebody stopped the caller itself. The others
of a caller that is cancelled get their answers.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

ANSWER_SECONDS = 2.0
"""After which a server that does not answer counts as away (a TimeoutError, which is an OSError)."""

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class WrongReplyCount(Exception):
    """A fault of the call: nobody can tell which answer belongs to which question."""

    def __init__(self, *, questions: int, answers: int) -> None:
        super().__init__(f"answers: {answers} came for {questions} question(s); there must be one for each")


class CallDropped(Exception):
    """The event loop ended before the question had its answer."""


class CallBatcher(Generic[Question, Answer]):
    """Asks for many at once.

    Args:
        ask: gives the answers to some questions, in their order.
        most: questions of one call.
    """

    def __init__(
        self, ask: Callable[[Sequence[Question]], Awaitable[Sequence[Answer]]], *, most: int = 500
    ) -> None:
        self._ask = ask
        self._most = most
        self._waiting: list[tuple[Question, asyncio.Future[Answer]]] = []
        self._asking: asyncio.Task[None] | None = None

    def answer(self, question: Question) -> "asyncio.Future[Answer]":
        """The answer to one question, to be awaited; raises what the call raised."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append((question, future))
        if self._asking is None:
            self._asking = asyncio.create_task(self._run())
        return future

    async def _run(self) -> None:
        batch: list[tuple[Question, asyncio.Future[Answer]]] = []
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._settle(batch)
        finally:
            self._asking = None
            left, self._waiting = [*batch, *self._waiting], []
            _fail(left, CallDropped("the event loop ends"))  # nobody is left over otherwise

    async def _settle(self, batch: Sequence[tuple[Question, asyncio.Future[Answer]]]) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                answers = await self._ask([question for question, _ in batch])
            if len(answers) != len(batch):
                raise WrongReplyCount(questions=len(batch), answers=len(answers))
        except Exception as error:  # noqa: BLE001  whatever it is belongs to those who asked
            _fail(batch, error)
            return
        for (_, future), answer in zip(batch, answers, strict=True):
            if not future.done():
                future.set_result(answer)


def _fail(batch: Sequence[tuple[Question, "asyncio.Future[Answer]"]], error: Exception) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)
