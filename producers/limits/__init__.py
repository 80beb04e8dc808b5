"""Limits on how many jobs run or begin: what a limit may be, and those of a lane group as they stand in Redis."""

from .hold import Hold as Hold
from .limit import LaneLimit as LaneLimit, Limit as Limit, LimitError as LimitError, Rate as Rate, Window as Window
from .limits import Limits as Limits, LimitState as LimitState
