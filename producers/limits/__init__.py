"""Limits on the rate and the concurrency of jobs: their definitions, and those of a lane group in Redis."""

from .hold import Hold as Hold
from .limit import LaneLimit as LaneLimit, Limit as Limit, LimitError as LimitError, Rate as Rate, Window as Window
from .limits import Limits as Limits, LimitState as LimitState
