"""Times in ISO 8601."""

import datetime

__all__ = ["add_utc_tz", "format", "parse", "validate"]


def add_utc_tz(dt):
    return dt.replace(tzinfo=datetime.timezone.utc) if dt.tzinfo is None else dt


def format(dt, usec=True, offset=True):  # noqa: A001
    """Returns a time, or seconds or milliseconds since 1970, as a text."""
    if isinstance(dt, (int, float)):
        dt = datetime.datetime.fromtimestamp(dt / 1000 if dt > 1e11 else dt, datetime.timezone.utc)
    text = dt.strftime("%Y-%m-%dT%H:%M:%S" + (".%f" if usec else ""))
    return text + ("+00:00" if offset else "Z")


def parse(value, preserve_original_tz=False):
    text = value.strip()
    dt = add_utc_tz(datetime.datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text))
    return dt if preserve_original_tz else dt.astimezone(datetime.timezone.utc)


def validate(value, raise_exception=True):
    if isinstance(value, datetime.datetime):
        return True
    try:
        parse(value)
        return True
    except (AttributeError, ValueError):
        if raise_exception:
            raise ValueError("Not a time in ISO 8601: %r" % (value,))
        return False
