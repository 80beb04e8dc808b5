"""Sessions for a backend's tests: in memory, without Redis, with the same checks and errors as the real ones."""

from .memory import SessionMemory as SessionMemory
from .recording import RecordingSessions as RecordingSessions, SyncRecordingSessions as SyncRecordingSessions
