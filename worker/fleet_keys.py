"""Keys through which operators and one worker communicate, kept beside the worker's heartbeat."""

from producers.keys import LaneKeys


def schedules_key(keys: LaneKeys, worker_id: str) -> str:
    """Return the key of a STRING: a worker's crons in this lane group, as JSON (`worker.crons`)."""
    return f"{keys.worker(worker_id)}:schedules"


def order_key(keys: LaneKeys, worker_id: str) -> str:
    """Return the key of a STRING: the latest order to a worker (`worker.engine.orders`)."""
    return f"{keys.worker(worker_id)}:order"
