"""Keys of what operators and one worker tell each other; each stands beside the worker's heartbeat."""

from producers.keys import LaneKeys


def order_key(keys: LaneKeys, worker_id: str) -> str:
    """Return the key of a STRING: the latest order to a worker (`worker.engine.orders`)."""
    return f"{keys.worker(worker_id)}:order"
