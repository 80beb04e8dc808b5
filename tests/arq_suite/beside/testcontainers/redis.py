"""What arq's conftest.py imports under this name, without containers: the server that `__main__` started."""

import os
from typing import Self

PORT = "ARQ_SUITE_PORT"


class RedisContainer:
    """A context manager, as the original, around a server that runs already."""

    port = 6379

    def __init__(self, image: str) -> None:
        del image

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_container_host_ip(self) -> str:
        return "127.0.0.1"

    def get_exposed_port(self, port: int) -> int:
        del port
        return int(os.environ[PORT])
