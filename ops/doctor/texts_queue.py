"""English texts of the findings about the queue, its workers and its reports; `ops.doctor.texts` has the rest."""

from collections.abc import Mapping

ENGLISH_QUEUE: Mapping[str, tuple[str, str]] = {
    "jobs.conserved": ("every accepted job is accounted for", ""),
    "jobs.unaccounted": ("jobs are unaccounted for: {lanes}", "see docs/operations.md, NOT CONSERVED"),
    "workers.none": ("no worker is alive", "start one: ./run worker"),
    "workers.alive": ("{count} alive", ""),
    "worker.silent": (
        "has not reported for {seconds} s",
        "check its log; other workers take its jobs when their leases lapse",
    ),
    "worker.quiet": (
        "an operator quieted it: it claims no new jobs",
        "let it claim again when the reason is gone: ./run ops workers resume {worker}",
    ),
    "worker.faults": (
        "background tasks failed because of a bug and were restarted: {tasks}",
        "find task.failed in its log and report the place that it names",
    ),
    "worker.left_behind": (
        "handlers still run that were told to stop: {lanes}",
        "restart it; its log names their jobs (job.unstoppable): give their calls time limits",
    ),
    "worker.no_database": (
        "cannot reach Postgres, so it computes no report: {error}, for {time}",
        "{remedy}",
    ),
    "worker.reports_ended": (
        "its process for reports ended by itself and is started again: {error}",
        "read the worker's log before reports.ended; look at the machine's memory",
    ),
    "worker.ledger_stands": (
        "its {part} does not work: {error}, for {time}; staged jobs and ends wait, none is lost",
        "{remedy}; ./run ops db check",
    ),
    "worker.no_right": (
        "its Redis user lacks a right, {error}, so it takes no jobs, for {time}",
        "grant it: ./run ops acl writes the users with the rights that they need",
    ),
    "lane.no_worker": (
        "{ready} jobs are ready and no live worker serves the lane",
        (
            "start one with slots for it and MOMENTUS_MAIL__HOST (mail), MOMENTUS_POSTGRES_DSN (reports) or "
            "MOMENTUS_WORKER__JOBS (own kinds)"
        ),
    ),
    "lane.quiet": (
        "{ready} jobs are ready, and the lane's workers are quiet or stopping: none claims a job",
        "let one claim again: ./run ops workers resume; or start another",
    ),
    "lane.unserved": (
        "{waiting} jobs wait for their time and no live worker serves the lane",
        "start one before they are due: ./run worker, with slots for the lane",
    ),
    "lane.not_claiming": (
        "{ready} jobs are ready, the oldest for {oldest}; slots are free, and no worker claims one",
        "read the workers' log (redis.away, lane.broken); stop the worker: another takes its jobs within 10 s",
    ),
    "lane.stuck": (
        "nothing has finished for {idle}; {leased} jobs run and {waiting} wait",
        "see whether the mail server or the database answers; give handlers a time limit, or add slots",
    ),
    "lane.growing": (
        "{ready} jobs are ready, the oldest for {oldest}, and {growth} more a minute arrive than leave",
        "add workers or slots (MOMENTUS_WORKER__*_SLOTS), unless the arrivals are about to stop",
    ),
    "lane.over_limit": (
        "{ready} jobs are ready, the oldest for {oldest}; {growth} more a minute arrive than limit {limit} allows",
        "raise the limit if its provider allows more (./run ops limit set), or queue less",
    ),
    "lane.late": (
        "{ready} jobs are ready, the oldest for {oldest}",
        "see ./run ops depth: if it grows, add workers or slots (MOMENTUS_WORKER__*_SLOTS)",
    ),
    "lane.retrying": (
        "{retrying} jobs have failed before and wait for their next attempt",
        "see ./run ops jobs --state retrying --by-error for why and until when",
    ),
    "lane.parked": (
        "{parked} jobs are parked: they wait for a worker that knows them, or for a decision",
        "see ./run ops parked LANE",
    ),
    "ledger.unrecorded": (
        "{unrecorded} jobs have ended and wait to be recorded in the ledger, the oldest for {oldest}",
        "start a worker with MOMENTUS_POSTGRES_DSN; if one runs, its log says why it waits (ledger.away)",
    ),
    "ledger.handed_over": ("staged jobs are handed to Redis; {pending} wait, none for long", ""),
    "ledger.pending": (
        "{pending} staged jobs wait to be handed to Redis, the oldest for {oldest}",
        "start a worker with MOMENTUS_POSTGRES_DSN and MOMENTUS_LEDGER__RELAY=on; see docs/ledger.md",
    ),
    "ledger.unusable": ("cannot be used by this build: {fault}", "see ./run ops db check"),
    "ledger.no_days": (
        "has no partitions for the coming days (the last is {day}): rows go to the DEFAULT partitions",
        "start a worker with MOMENTUS_POSTGRES_DSN, which makes them once an hour; or ./run ops db install",
    ),
    "ledger.quarantined": (
        "{rows} rows since yesterday could not become jobs",
        "see ./run ops ledger list for the reasons; fix those jobs and stage them again",
    ),
    "account.closed": (
        "is closed for {time}: {reason}",
        "see docs/operations.md, A mail account is closed; once it is fixed: ./run ops mail resume {account}",
    ),
    "account.paused": (
        "is paused by an operator: {reason}",
        "./run ops mail resume NAME, when the reason is gone",
    ),
    "account.slowed": (
        "sends slower than it could ({rate}), because its provider asked for less",
        "it speeds up again by itself; if it stays slow, set its limit to what the provider allows (docs/mail.md)",
    ),
    "promise.overdrawn": (
        "{broken} minutes of 30 days broke it (at most {limit}, in {target} of the time): no budget is left",
        "see ./run ops depth for what makes jobs or reports late; or promise less (MOMENTUS_WORKER__PROMISES)",
    ),
    "promise.burns": (
        "is broken often (at most {limit}, in {target} of the time): burn rate {burn}, {left} of its budget left",
        "see ./run ops depth for what makes jobs or reports late (docs/promises.md)",
    ),
    "limit.unreadable": (
        "cannot be read, so no job begins under it: another application wrote to it",
        "define it again: ./run ops limit set; or restart a worker that defines it",
    ),
    "lane.held": ("is held: {reason}", "./run ops release LANE, when the reason is gone"),
    "lane.dead": ("{dead} dead jobs wait for a decision", "see ./run ops dead LANE"),
    "reports.right": ("all {count} declared reports are computed", ""),
    "reports.none": (
        "none is declared: no worker with MOMENTUS_POSTGRES_DSN has run yet, or it has no report files",
        "start one: ./run worker. If the shipped reports are off, set MOMENTUS_REPORTS__PATH",
    ),
    "report.fails": ("its last refresh failed: {error}", "{remedy}"),
    "report.never": ("was never computed", "is a worker with MOMENTUS_POSTGRES_DSN running? ./run ops depth"),
    "report.waits": (
        "waits for its tables, none of which exists: {tables}",
        (
            "let the application make them, or name the right database in MOMENTUS_POSTGRES_DSN; shipped reports: "
            "MOMENTUS_REPORTS__SHIPPED=off"
        ),
    ),
    "report.stale": (
        "is stale: {age} old, and its soft limit is {soft}",
        "see ./run ops reports status for its next refresh, and ./run ops depth for the lane reports",
    ),
    "report.distrusted": (
        "its query for some nodes disagreed with the whole, {at} UTC; the whole is computed for a day",
        "see ./run ops reports check, and whether something writes to its tables without triggers",
    ),
    "report.mismatch": (
        "an audit found measures that differ from the recomputed ones, {at} UTC (node, measure): {measures}",
        "look for statements that change its tables without a trigger; ./run ops reports check compares the rest",
    ),
    "report.refused": ("is past its hard limit, and readers get 503", "see ./run ops reports status"),
    "report.unreadable": (
        "its stored form cannot be read: worker and ops have different versions",
        "run the same version of worker and ops",
    ),
    "triggers.missing": (
        "triggers are installed, but none marks changes of {tables}: each write in the server counts as a change",
        "./run ops reports install",
    ),
    "triggers.former": (
        "the triggers of {tables} are disabled or outdated: each write in the server counts as a change",
        "./run ops reports install replaces them",
    ),
    "marks.taken_up": ("{marks} marks of changes wait, none for long", ""),
    "marks.pile_up": (
        "{marks} marks of changes wait, the oldest for {age}: no refresh takes them up",
        "see ./run ops reports status for the board's errors and its budget, and ./run ops depth for its lane",
    ),
    "marks.unclaimed": (
        "{marks} marks wait, the oldest for {age}, and no report file here has this board",
        "start the workers that have it, or remove its triggers: ./run ops reports install",
    ),
    "source.empty": (
        "has no row; reports that read it show zeros: {reports}",
        "if it should have some, see whether MOMENTUS_POSTGRES_DSN names the right database",
    ),
    "reports.watched": ("each change leaves a mark: {boards}", ""),
    "reports.whole": (
        "is computed whole after each change, since marks of {tables} name no nodes",
        "./run ops reports install makes them name nodes",
    ),
    "reports.unwatched": (
        "is not watched, so each write in the server counts as a change: {why}",
        "see docs/reports.md, What cannot be watched",
    ),
    "reports.unproved": (
        "nothing proves it unchanged, so it is computed at the pace of `every`: {why}",
        "see docs/reports.md, What cannot be watched",
    ),
}
