"""The row-level method: the exercise as it is written, every trip a row. The oracle of the tests.

It imports nothing from the project, on purpose.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

FEATURES = ["PULocationID", "DOLocationID"]


@dataclass(frozen=True)
class Reference:
    loaded: int
    trips: pd.DataFrame
    train: pd.DataFrame
    validation: pd.DataFrame
    vectorizer: DictVectorizer
    model: LinearRegression
    predicted: np.ndarray

    @property
    def errors(self) -> np.ndarray:
        return self.validation["duration"].to_numpy() - self.predicted

    @property
    def rmse(self) -> float:
        return float(np.sqrt(np.mean(self.errors**2)))

    @property
    def mae(self) -> float:
        return float(np.mean(np.abs(self.errors)))

    @property
    def r2(self) -> float:
        actual = self.validation["duration"]
        return float(1 - np.mean(self.errors**2) / np.mean((actual - actual.mean()) ** 2))

    @property
    def baseline_rmse(self) -> float:
        error = self.validation["duration"] - self.train["duration"].mean()
        return float(np.sqrt(np.mean(error**2)))


def row_level(month: pd.DataFrame, **options: float) -> Reference:
    """Fit the month of a TLC file; options go to ``LinearRegression``."""
    (pickup,) = [name for name in month if name.endswith("pickup_datetime")]
    dropoff = pickup.replace("pickup", "dropoff")
    trips = month.assign(duration=(month[dropoff] - month[pickup]).dt.total_seconds() / 60)
    trips = trips[(trips["duration"] >= 1) & (trips["duration"] <= 60)]
    trips = trips.assign(**{zone: trips[zone].astype(str) for zone in FEATURES})

    train, validation = train_test_split(trips, test_size=0.2, random_state=42)
    vectorizer = DictVectorizer()
    features = vectorizer.fit_transform(train[FEATURES].to_dict(orient="records"))
    model = LinearRegression(**options).fit(features, train["duration"])
    predicted = model.predict(vectorizer.transform(validation[FEATURES].to_dict(orient="records")))
    return Reference(len(month), trips, train, validation, vectorizer, model, predicted)
