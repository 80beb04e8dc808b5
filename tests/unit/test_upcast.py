"""Old payloads are brought up to date one version at a time; what cannot be run is told apart before it is."""

from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from producers.envelope import write_envelope
from worker.engine.admit import AdmittedJob, Rejection, admit_claim
from worker.engine.handler import handler
from worker.engine.lane import Claim
from worker.engine.outcome import RELOOK
from worker.engine.upcast import CannotUpcast, upcast_payload

NOW_MS = 1_795_000_000_000


async def take(_: dict[str, Any], **payload: object) -> None:
    del payload


def claim(payload: bytes) -> Claim:
    return Claim("mail.normal", "{mail}1", payload, 1, NOW_MS, NOW_MS, 0, "w-1:1")


def steps(last: int) -> dict[int, Any]:
    return {step: lambda old, step=step: {"seen": [*old["seen"], step]} for step in range(1, last)}


@given(st.data())
def test_every_step_from_the_payloads_version_on_is_taken_once_and_in_order(data: st.DataObject) -> None:
    to = data.draw(st.integers(1, 30))
    version = data.draw(st.integers(1, to))
    assert upcast_payload({"seen": []}, version, to=to, upcasters=steps(to)) == {"seen": list(range(version, to))}


def test_a_missing_step_is_named() -> None:
    with pytest.raises(CannotUpcast, match="upcasters: none leads from version 2 to 3"):
        upcast_payload({"seen": []}, 1, to=4, upcasters={1: lambda old: old, 3: lambda old: old})


def test_a_step_that_fails_is_named_with_what_it_said() -> None:
    with pytest.raises(CannotUpcast, match=r"from version 1 to 2 failed \(KeyError: 'body'\)"):
        upcast_payload({}, 1, to=2, upcasters={1: lambda old: {"text": old["body"]}})


@pytest.mark.parametrize(
    ("version", "known"),
    [(0, {}), (3, {1: dict}), (3, {1: dict, 3: dict}), (2, {1: dict, 2: dict}), (2, {0: dict})],
)
def test_a_chain_with_a_hole_or_beyond_its_end_is_refused_when_it_is_declared(version: int, known: Any) -> None:
    with pytest.raises(ValueError, match="version"):
        handler(take, kind="note.take", version=version, upcasters=known)


def test_a_handler_may_begin_its_chain_late() -> None:
    assert handler(take, kind="note.take", version=3, upcasters={2: dict}).version == 3


def verdict(octets: bytes, *, version: int = 3) -> AdmittedJob | Rejection:
    one = handler(take, kind="note.take", version=version, upcasters=steps(version))
    return admit_claim(claim(octets), {"note.take": one})


def note(**options: Any) -> bytes:
    return write_envelope("note.take", {"seen": []}, enqueued_ms=NOW_MS, **options)


def test_an_old_payload_reaches_the_handler_in_its_own_version() -> None:
    admitted = verdict(note())
    assert isinstance(admitted, AdmittedJob)
    assert admitted.payload == {"seen": [1, 2]}
    untouched = verdict(note(payload_version=3))
    assert isinstance(untouched, AdmittedJob)
    assert untouched.payload == {"seen": []}


@pytest.mark.parametrize(
    ("octets", "why", "needs"),
    [
        (note(payload_version=4), "version", "note.take@4"),
        (write_envelope("note.burn", {}, enqueued_ms=0), "kind", "note.burn@1"),
        (write_envelope("note.burn", {}, enqueued_ms=0, payload_version=2), "kind", "note.burn@2"),
        (b'{"v":2,"anything":"else"}', "version", "envelope@2"),
    ],
)
def test_what_this_worker_does_not_know_is_parked_for_one_that_does(octets: bytes, why: str, needs: str) -> None:
    turned = verdict(octets)
    assert isinstance(turned, Rejection)
    outcome = turned.outcome
    assert (outcome.kind, outcome.why, outcome.needs, outcome.delay) == ("park", why, needs, RELOOK)


@pytest.mark.parametrize("expires_ms", [NOW_MS, NOW_MS - 1])
def test_a_job_is_expired_from_its_deadline_on_whether_or_not_it_could_be_run(expires_ms: int) -> None:
    for octets in (note(expires_ms=expires_ms), note(expires_ms=expires_ms, payload_version=9)):
        turned = verdict(octets)
        assert isinstance(turned, Rejection)
        assert turned.outcome.kind == "expired"
    assert isinstance(verdict(note(expires_ms=NOW_MS + 1)), AdmittedJob)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b'{"v":1,"f":"note.take","t":null,"a":[],"k":{"text":"trunc',
        b"\x80\x05]q\x00.",
        *(
            orjson.dumps({"v": 1, "f": "note.take", "a": [], "k": {}, "et": 0, **wrong})
            for wrong in (
                {"f": ["note.take"]},
                {"pv": 0},
                {"pv": "2"},
                {"pv": True},
                {"et": -1},
                {"et": 10**18},
                {"d": -5},
                {"x": "soon"},
                {"v": 0},
                {"v": "2"},
            )
        ),
    ],
)
def test_octets_that_are_no_job_are_dead_with_a_reason(octets: bytes) -> None:
    turned = verdict(octets)
    assert isinstance(turned, Rejection)
    assert turned.outcome.kind == "dead"
    assert turned.outcome.reason
