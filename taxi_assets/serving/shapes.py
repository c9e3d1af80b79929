"""What the addresses take and give, as OpenAPI describes it."""

from typing import Any

from pydantic import BaseModel, Field

from taxi_assets.serving.asking import EXAMPLE


class Zone(BaseModel):
    """A taxi zone of TLC's."""

    id: int = Field(ge=1, le=265)
    name: str


class ZoneWithBorough(Zone):
    """A taxi zone of TLC's, and where it is."""

    borough: str


class Model(BaseModel):
    """The registered version that answered."""

    version: int
    month: str = Field(description="the last that it was trained on", examples=["2023-03"])
    family: str = Field(examples=["boosted"])


class Minutes(BaseModel):
    """How long a trip takes, and the bounds that eight trips of ten lie between."""

    minutes: float
    minutes_p10: float
    minutes_p90: float


class Answer(Minutes):
    """How long a trip between two zones takes."""

    start: Zone = Field(alias="from")
    to: Zone
    at: str | None = Field(description="the hour of the week", examples=["Fri 17:00"])
    model: Model


class Week(BaseModel):
    """How long a trip takes by the 168 hours of the week."""

    start: Zone = Field(alias="from")
    to: Zone
    hours: list[str]
    minutes: list[float]
    minutes_p10: list[float]
    minutes_p90: list[float]
    model: Model


class Health(BaseModel):
    """Which version answers, how old it is, and since when nobody could see who is champion."""

    status: str = Field(description="`ok`, or `stale` if it cannot be seen who is champion")
    fleet: str
    model: Model
    age_seconds: float = Field(description="since the version was registered")
    serving_since: str
    looked_at: str = Field(description="when it was last seen who is champion")
    seconds_since_look: float
    problem: str | None = Field(description="why it could not be seen since")


class Refusal(BaseModel):
    """Why something cannot be answered."""

    detail: str


def parameter(name: str, about: str, example: str, required: bool = True) -> dict[str, Any]:
    """A parameter of an address, which reads it from the address itself."""
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": about,
        "schema": {"type": "string"},
        "example": example,
    }


ZONE = "a taxi zone: its number, 1 to 265, its name, or a part of it"
PAIR = [parameter("from", ZONE, "132"), parameter("to", ZONE, "230")]
TIME = parameter(
    "at",
    "when it begins, on New York's clock: 2023-04-07T17:00 or Fri 17:00; without it the answer is "
    "for the average hour",
    "2023-04-07T17:00",
    required=False,
)

QUESTIONS: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["PULocationID", "DOLocationID"],
                    "properties": {
                        "PULocationID": {"type": "integer", "minimum": 1, "maximum": 265},
                        "DOLocationID": {"type": "integer", "minimum": 1, "maximum": 265},
                        "pickup_datetime": {"type": "string"},
                    },
                },
            },
            "example": [EXAMPLE],
        }
    },
}
