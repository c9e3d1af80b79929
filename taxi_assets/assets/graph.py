"""The graph: what is made of each month of trips, and from what.

raw_trips → cleaned_trips → zone_pairs → vectorizer → model → metrics       the exercise: one month
            cleaned_trips → hourly_pairs → boosted_model → boosted_metrics  a month, those before it
            models of earlier months, cleaned_trips → backtest              the next month's truth
            backtest → champion; champion, cleaned_trips → predictions      what serves, and says
"""

from taxi_assets.assets.boosted import boosted_metrics, boosted_model, hourly_pairs
from taxi_assets.assets.evaluation import backtest, champion, predictions
from taxi_assets.assets.linear import metrics, model, vectorizer, zone_pairs
from taxi_assets.assets.trips import cleaned_trips, raw_trips

GRAPH = (
    *(raw_trips, cleaned_trips),
    *(zone_pairs, vectorizer, model, metrics),
    *(hourly_pairs, boosted_model, boosted_metrics),
    *(backtest, champion, predictions),
)
