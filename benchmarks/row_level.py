"""The exercise as a plain script: every trip a row, no orchestrator, no tracking.

python benchmarks/row_level.py MONTH_FILE
"""

import sys

import numpy as np
import pandas as pd
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

ZONES = ["PULocationID", "DOLocationID"]


def main(path: str) -> None:
    trips = pd.read_parquet(path)
    (pickup,) = [name for name in trips if name.endswith("pickup_datetime")]
    trips["duration"] = (
        trips[pickup.replace("pickup", "dropoff")] - trips[pickup]
    ).dt.total_seconds() / 60
    trips = trips[(trips["duration"] >= 1) & (trips["duration"] <= 60)]
    trips[ZONES] = trips[ZONES].astype(str)
    train, validation = train_test_split(trips, test_size=0.2, random_state=42)
    vectorizer = DictVectorizer()
    features = vectorizer.fit_transform(train[ZONES].to_dict(orient="records"))
    model = LinearRegression().fit(features, train["duration"])
    predicted = model.predict(vectorizer.transform(validation[ZONES].to_dict(orient="records")))
    rmse = np.sqrt(np.mean((validation["duration"] - predicted) ** 2))
    print(f"kept {len(trips):,}, intercept {model.intercept_:.2f}, RMSE {rmse:.5f}")


if __name__ == "__main__":
    main(sys.argv[1])
