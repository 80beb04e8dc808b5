"""Producers for the tests of a backend: in memory, without Redis, with every refusal of the real ones."""

from .queue import Sent as Sent
from .recording import RecordingProducer as RecordingProducer, SyncRecordingProducer as SyncRecordingProducer
