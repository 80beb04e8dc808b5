"""The Redis keys of stored reports; docs/wire.md says what each holds."""


def snapshot(tenant: str, report: str) -> str:
    """HASH of everything stored of one report: a field per scope, its head, and ``_meta``."""
    return f"momentus:{{reports}}:snapshot:{tenant}:{report}"
