"""What is unusual for a month, in one place.

A month beyond these is stored and modelled all the same, with a warning; what makes a month
useless is an error in its step. Measured on TLC's published months of 2022 and 2023, unless noted.
"""

ROWS_OF_NEIGHBOURS = (0.7, 1.4)
"""Trips, beside the mean of the months next to it. Seasons move a month by less than a fifth."""

MAX_NULL_ZONES = 0.01
"""Share of the trips without a zone. Published months have none: unknown zones are 264 and 265."""

MAX_OUTSIDE_MONTH = 0.01
"""Share of the trips picked up in another month. Published months have some dozens."""

MAX_UNREADABLE = 0.01
"""Share of a column's values that cannot be read. Published months have none."""

MIN_SHARE_KEPT = 0.9
"""Share of the trips of 1 to 60 minutes. Published months keep 0.966 to 0.979."""

MEDIAN_DURATION = (6.0, 20.0)
"""Minutes. Published months have medians of 10.4 to 11.7."""

LONG_DURATION = (20.0, 45.0)
"""Minutes that 95 of 100 trips do not exceed. In published months, 31.4 to 33.0."""

THIN_ZONE_TRIPS = 10
"""A coefficient that rests on fewer training trips says little."""

MAX_ON_THIN_ZONES = 0.01
"""Share of the training trips that begin, or that end, in such zones. Published: up to 0.007."""

MIN_GAIN_ON_MEAN = 0.1
"""How far the RMSE must be below that of the mean. Published months reach 0.195 to 0.268."""

MAX_RMSE_OF_EARLIER = 1.15
"""RMSE, beside the median of the months before."""

EARLIER_MONTHS = 6
"""How many months before are looked at."""

MIN_GAIN_ON_LINEAR = 0.15
"""How far the boosted model's RMSE must be below the linear one's on a month that neither has seen.
Published months of green taxis reach 0.27 to 0.44."""

COVERAGE = (0.75, 0.85)
"""Share of the trips within the interval of P10 to P90."""

MAX_DRIFT_IN_A_MONTH = {
    "pickup_zones": 0.15,
    "dropoff_zones": 0.15,
    "hours": 0.08,
    "durations": 0.15,
}
"""Distances from the month before; see ``drift.distances``. Published months of green taxis have
up to 0.068, 0.056, 0.027 and 0.059; a clock that is an hour off has 0.097 of hours."""

MAX_DRIFT_IN_A_YEAR = {
    "pickup_zones": 0.45,
    "dropoff_zones": 0.4,
    "hours": 0.2,
    "durations": 0.25,
}
"""Distances from the same month a year before. Published months of green taxis have up to 0.352,
0.288, 0.145 and 0.170, from 2021 to 2022, when the city came back from the pandemic."""

MAX_DECAY = 1.10
"""The champion's RMSE beside the lookup table's, as a multiple of what it was when promoted."""

DECAY_MONTHS, DECAYED_MONTHS = 3, 2
"""Months that are looked at, and of how many of them beyond that is decay."""
