"""The arithmetic and the tables of the queue measurement: what a figure means must not depend on the run."""

from pathlib import Path

import orjson

from bench.queue_peers.contract import WIDTH, in_chunks, mail
from bench.queue_peers.figures import (
    markdown,
    rate,
    ratio,
    read_nanoseconds,
    shared_rate,
    short,
    summary,
    waits,
)
from bench.queue_peers.install import Installed, pinned
from bench.queue_peers.peers import OURS, OWN, OWN_PROCESS, PEERS, Peer
from bench.queue_peers.report import Row, report

FOLDER = Path(__file__).parents[2] / "bench" / "queue_peers"
SECOND = 1_000_000_000
FACTS = ("version",)


def every(step: int, count: int, *, since: int = 0) -> list[int]:
    return [since + step * number for number in range(count)]


def test_readings_come_back_as_they_were_written_and_half_a_reading_is_left_out() -> None:
    written = [0, 1, 2**40, -5]
    octets = b"".join(one.to_bytes(WIDTH, "little", signed=True) for one in written)
    assert read_nanoseconds(octets + b"\x01\x02\x03") == written
    assert read_nanoseconds(b"") == []


def test_a_rate_counts_the_jobs_after_the_first_and_knows_no_order() -> None:
    assert rate([2 * SECOND, 0, SECOND]) == 1.0
    assert rate(every(SECOND // 1000, 5001)) == 1000.0


def test_two_workers_are_counted_only_while_both_work() -> None:
    early = every(SECOND // 1000, 2000)  # two seconds at 1,000 a second
    late = every(SECOND // 1000, 2000, since=SECOND)  # from the second second on
    together = shared_rate([early, late])
    assert together is not None
    assert 1990 < together < 2010


def test_two_workers_that_hardly_met_have_no_common_rate() -> None:
    assert shared_rate([every(1000, 500), every(1000, 500, since=SECOND)]) is None
    assert shared_rate([every(1000, 500), []]) is None


def test_a_wait_is_from_the_call_to_its_start_and_the_first_start_is_not_measured() -> None:
    assert waits([5_000_000, 20_000_000], [22_500_000, 1_000_000, 6_000_000]) == [1.0, 2.5]


def test_figures_have_three_digits_or_all_whole_ones() -> None:
    assert [short(one) for one in (12345.6, 99.96, 12.34, 1.234, 0.01234, 0)] == [
        "12,346",
        "100.0",
        "12.3",
        "1.23",
        "0.012",
        "0.000",
    ]


def test_a_summary_is_the_median_with_the_extremes_of_several_rounds() -> None:
    assert summary([300.0, 100.0, 200.0]) == "200 (100-300)"
    assert summary([200.0]) == "200"
    assert summary([]) == "-"


def test_a_ratio_is_of_medians_and_unknown_without_one_side() -> None:
    assert ratio([10.0, 1000.0, 20.0], [5.0]) == "4.00"
    assert (ratio([], [5.0]), ratio([1.0], [])) == ("-", "-")


def test_a_bar_in_a_reason_does_not_break_the_table() -> None:
    table = markdown(["library"], [["failed: a | b"]])
    assert table.splitlines() == ["| library |", "| --- |", "| failed: a \\| b |"]


def test_a_round_s_figures_join_those_of_the_rounds_before() -> None:
    row = Row(("x 1",))
    row.add({"drain": 100.0})
    row.add({"drain": 300.0, "bulk": 5.0})
    assert (row.get("drain"), row.get("bulk"), row.get("memory")) == ([100.0, 300.0], [5.0], [])


def test_our_figures_stand_over_those_of_each_other_library() -> None:
    rows = {OURS.name: Row(("this one",), {"drain": [3000.0]}), "other": Row(("x 1",), {"drain": [1000.0]})}
    speed, ratios = report(rows, FACTS)
    assert "| other | x 1 | 1,000 |" in speed
    assert ratios.splitlines()[-1] == "| other | 3.00 |"


def test_a_failed_library_has_its_reason_in_the_table_and_keeps_the_figures_it_has() -> None:
    rows = {
        OURS.name: Row(("this one",), {"drain": [3000.0], "cpu": [10.0]}),
        "half": Row(("x 1",), {"drain": [1000.0]}, failure="failed: pick-up: no answer"),
        "absent": Row(("-",), failure="skipped: no node and npm on this machine"),
    }
    speed, cost, ratios = report(rows, FACTS)
    assert "| half: failed: pick-up: no answer | x 1 | 1,000 |" in speed
    assert "| absent: skipped: no node and npm on this machine | - | - |" in speed
    assert "half" not in cost
    assert "absent" not in ratios


def test_tables_without_a_figure_are_left_out() -> None:
    assert list(report({OURS.name: Row(("this one",))}, FACTS)) == []
    (crash,) = report({OURS.name: Row(("this one",), {"crash": [9.8]})}, FACTS)
    assert crash.endswith("| momentus | 9.80 |")


def test_what_a_job_costs_more_in_a_child_than_in_the_loop_is_told_by_medians() -> None:
    rows = {
        OWN.name: Row(("this one",), {"drain": [10_000.0], "pickup p50": [1.5]}),
        OWN_PROCESS.name: Row(("this one",), {"drain": [4_000.0, 5_000.0, 6_000.0]}),
    }
    *_, costs = report(rows, FACTS)
    assert costs.startswith("### What it costs more than momentus-own")
    assert costs.endswith("| momentus-own-process | 0.100 | - |")


def test_every_job_carries_about_330_octets_of_its_own() -> None:
    assert {len(orjson.dumps(mail(number))) for number in (0, 7, 999_999)} == {327}
    assert len({mail(number)["message_id"] for number in range(1000)}) == 1000


def test_jobs_in_javascript_carry_what_jobs_in_python_carry() -> None:
    source = (FOLDER / "bullmq" / "contract.js").read_text("utf-8")
    for name, value in mail(0).items():
        quoted = f"`{value.replace('0000000', '${digits}')}`" if "0000000" in value else f'"{value}"'
        assert f"    {name}: {quoted},\n" in source


def test_every_library_has_its_two_scripts_and_one_version_of_every_package() -> None:
    for folder in {FOLDER / peer.folder for peer in PEERS}:
        assert {file.stem for file in folder.iterdir()} >= {"worker", "producer"}
        for requirements in folder.glob("requirements.txt"):
            assert all("==" in line for line in requirements.read_text("utf-8").splitlines())


def test_chunks_have_all_in_order() -> None:
    mails = [mail(number) for number in range(5)]
    assert [len(chunk) for chunk in in_chunks(mails, 2)] == [2, 2, 1]
    assert [one for chunk in in_chunks(mails, 2) for one in chunk] == mails


def test_the_first_package_of_a_list_is_the_one_measured() -> None:
    assert pinned("arq==0.28.0\nredis==5.3.1\n") == "arq 0.28.0"


def test_a_command_names_the_script_of_its_library() -> None:
    peer = Peer(name="x", folder="x", keeps="no")
    python = Installed(peer, "x 1", ("python", "-P", "-m"), "bench.queue_peers.x.{}", {})
    assert python.command("worker", "0.5") == ["python", "-P", "-m", "bench.queue_peers.x.worker", "0.5"]


def test_names_are_unique_and_ours_comes_first() -> None:
    names = [peer.name for peer in PEERS]
    assert len(set(names)) == len(names)
    assert PEERS[0] is OURS
