"""Secrets in URLs, wherever they are shown."""

import pytest

from taxi_assets.errors import mask
from taxi_assets.tracking.server import TrackingServer


@pytest.mark.parametrize(
    "text",
    [
        "http://me:s3cret@host/x",
        "http://me:pa/s3cret@host/x",
        "http://me:pa#s3cret@host",
        "http://me:it's3cret@host",
        "ftp://me:pa?s3cret@host/x",
        "see 'https://s3cret@host/x', please",
        "http://host/x?signature=s3cret&expires=2",
        "http://host/x?s3cret",
        "http://host/x?sig=a(s3cret)",
        "Max retries exceeded with url: /x?sig=s3cret (Caused by y)",
        "me:s3cret@127.0.0.1:5000",
        "connection failed: host=db user=me password=s3cret",
        "password='my s3cret' is wrong",
        "AWS_SECRET_ACCESS_KEY=s3cret",
        "https://host/x, token=s3cret.",
        '{"access_token": "s3cret", "user": "me"}',
        "https://host/x?GoogleAccessId=me@a.gserviceaccount.com&Expires=1&Signature=s3cret",
        "AccountName=a;AccountKey=s3cret==;EndpointSuffix=core.windows.net",
        "Expires=1&Signature=s3cret",
        "sv=2022&sig=s3cret",
        "Authorization: Bearer s3cret",
        "{'Authorization': 'Basic s3cret'}",
        "refused with Bearer s3cret.",
        "http://me:my s3cret@host/x",
        "http://me:p@ my s3cret@host/x",
        "password=my s3cret host=db",
        "https%3A%2F%2Fme%3As3cret%40host%2Fx",
        "https%3A%2F%2Fhost%2Fx%3Fsig%3Ds3cret",
        "http%253A%252F%252Fme%253As3cret%2540host",
        "https://me%3As3cret%40host/x",
    ],
)
def test_no_form_of_a_secret_is_shown(text: str) -> None:
    assert "s3cret" not in mask(text)
    assert "***" in mask(text)


@pytest.mark.parametrize(
    "text",
    [
        "https://host/trip-data/green_tripdata_2023-01.parquet is not there (HTTP 404).",
        "http://host:5000/#/experiments/1/runs/2",
        "Is it a file of another fleet than green? Then choose it.",
        "/home/me/data: 5 files",
        """It begins with '<?xml version="1.0"?>'. Run the month again.""",
        "It begins with '<?php echo?>'. Run the month again (or why?).",
        "image@sha256:0123, sha256:0123abc@host/image",
        "The token is refused; a password: none is needed.",
        "https://host/a%20folder/green_tripdata_2023-01.parquet: 50%, for --partition-key=2023-01",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


def test_what_stands_around_a_secret_stays() -> None:
    text = "'http://host/x?sig=s3cret' is refused. Set password=s3cret, then go on."
    assert mask(text) == "'http://host/x?***' is refused. Set password=***, then go on."


@pytest.mark.parametrize("uri", ["postgresql://me:s3cret@host/db", "http://host/x?password=s3cret"])
def test_mlflows_address_is_shown_without_them(uri: str) -> None:
    assert "s3cret" not in TrackingServer(uri).shown
    assert TrackingServer(uri).shown.startswith(uri.partition("://")[0] + "://host/")
