"""Limits on the rate and the concurrency of jobs: their definitions.

Those of a lane group in Redis are in :mod:`.limits` and :mod:`.hold`, which the client wheel leaves out.
"""

from .limit import LaneLimit as LaneLimit, Limit as Limit, LimitError as LimitError, Rate as Rate, Window as Window
