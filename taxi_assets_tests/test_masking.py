"""Secrets in URLs, wherever they are shown."""

import pytest

from taxi_assets.masking import mask
from taxi_assets.tracking.servers import TrackingServer


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
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert mask(text) == text


@pytest.mark.parametrize("uri", ["postgresql://me:s3cret@host/db", "http://host/x?password=s3cret"])
def test_mlflows_address_is_shown_without_them(uri: str) -> None:
    assert "s3cret" not in TrackingServer(uri).shown
    assert TrackingServer(uri).shown.startswith(uri.partition("://")[0] + "://host/")
