"""Producers for a backend's tests: in memory, without Redis, with the same checks and errors as the real ones."""

from .queue import Sent as Sent
from .recording import RecordingProducer as RecordingProducer, SyncRecordingProducer as SyncRecordingProducer
