"""What goes wrong in ways that a person can act on."""


class MonthError(Exception):
    """A month cannot be processed. The message says why and what to do, and needs no traceback."""


class ServiceError(MonthError):
    """Something that every month needs does not answer, so that other months need not be tried."""
