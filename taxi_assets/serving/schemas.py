"""What a request may be and what an answer is, as FastAPI validates and describes them."""

from typing import Annotated

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, WithJsonSchema

from taxi_assets.durations.promotion import Version
from taxi_assets.serving.parsing import find_zone, hour_at
from taxi_assets.tlc.fleets import DROPOFF_ZONE, PICKUP_ZONE
from taxi_assets.tlc.zones import ZONES

TEXT = {"type": "string", "maxLength": 60}

Pickup = Annotated[
    int, BeforeValidator(find_zone), WithJsonSchema({**TEXT, "examples": ["JFK Airport"]})
]
Dropoff = Annotated[int, BeforeValidator(find_zone), WithJsonSchema({**TEXT, "examples": ["230"]})]
"""Zones, 1 to 265, asked for by their numbers, their names, or a part of their names."""

HourOfWeek = Annotated[
    int | None, BeforeValidator(hour_at), WithJsonSchema({**TEXT, "examples": ["Fri 17:00"]})
]
"""An hour of the week, 0 to 167, asked for as ``Fri 17:00`` or a time; None is any hour."""

ZONE = "a zone's number, its name or a part of it, or a place in it, such as Wall Street"
TIME = (
    "when the trip begins, on New York's clock: Fri 17:00, 2023-04-07T17:00 or now. Left out, the "
    "answer is for the pair's trips at all hours"
)


class StartQuery(BaseModel, extra="forbid"):
    """Where and when trips begin, as the parameters of an address."""

    pickup: Pickup = Field(alias="from", description=ZONE)
    hour: HourOfWeek = Field(None, alias="at", description=TIME)


class PairQuery(BaseModel, extra="forbid"):
    """Two zones, as the parameters of an address."""

    pickup: Pickup = Field(alias="from", description=ZONE)
    dropoff: Dropoff = Field(alias="to", description=ZONE)


class TripQuery(PairQuery):
    """A trip between two zones, as the parameters of an address."""

    hour: HourOfWeek = Field(None, alias="at", description=TIME)


class Trip(BaseModel, extra="forbid"):
    """A trip in a list: by the names of the parameters, or by those of the model's columns."""

    pickup: Pickup = Field(validation_alias=AliasChoices("from", PICKUP_ZONE), description=ZONE)
    dropoff: Dropoff = Field(validation_alias=AliasChoices("to", DROPOFF_ZONE), description=ZONE)
    hour: HourOfWeek = Field(
        None, validation_alias=AliasChoices("at", "pickup_datetime"), description=TIME
    )


class Place(BaseModel):
    """A taxi zone of TLC's."""

    id: int = Field(ge=1, le=265)
    name: str
    borough: str

    @classmethod
    def of(cls, zone: int) -> "Place":
        """The zone of an id, 1 to 265."""
        return cls(id=zone, name=ZONES[zone].name, borough=ZONES[zone].borough)


class Model(BaseModel):
    """The registered version that answers."""

    fleet: str
    version: int
    month: str = Field(description="the last month that it was trained on")
    family: str | None

    @classmethod
    def of(cls, fleet: str, version: Version) -> "Model":
        """A version of a fleet's model, as answers name it."""
        return cls(
            fleet=fleet, version=version.number, month=str(version.month), family=version.family
        )


class Minutes(BaseModel):
    """How long a trip takes, and the bounds that eight trips of ten lie between."""

    minutes: float = Field(examples=[37.0])
    minutes_p10: float = Field(examples=[23.8])
    minutes_p90: float = Field(examples=[60.0])


class Answer(Minutes):
    """How long a trip between two zones takes."""

    pickup: Place = Field(serialization_alias="from")
    dropoff: Place = Field(serialization_alias="to")
    at: str | None = Field(description="the hour of the week; null is all hours")
    model: Model


class MinutesOfMany(BaseModel):
    """How long trips take, in order, and the bounds that eight trips of ten lie between."""

    minutes: list[float]
    minutes_p10: list[float]
    minutes_p90: list[float]


class Week(MinutesOfMany):
    """How long a trip takes by the 168 hours of the week, from Monday midnight on."""

    pickup: Place = Field(serialization_alias="from")
    dropoff: Place = Field(serialization_alias="to")
    hours: list[str]
    model: Model


class Map(MinutesOfMany):
    """How long trips from one zone take to all zones, in the order of their ids."""

    pickup: Place = Field(serialization_alias="from")
    at: str | None = Field(description="the hour of the week; null is all hours")
    zones: list[int]
    model: Model


class Health(BaseModel):
    """Which version answers, how old it is, and when the registry last said who is champion."""

    status: str = Field(description="`ok`, or `stale` while the registry cannot be read")
    fleet: str
    model: Model
    age_seconds: float = Field(description="since the version was registered")
    serving_since: str
    looked_at: str = Field(description="when the registry was last read")
    seconds_since_look: float
    problem: str | None = Field(description="why it could not be read since")
