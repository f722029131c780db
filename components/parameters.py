"""What an account's owner sets in SSM under the feed's name, read when a step runs."""

from __future__ import annotations

import math

from botocore.exceptions import ClientError

from components.run import Refused
from loopcast import aws
from loopcast.names import Names


def text(names: Names, *path: str) -> str | None:
    """The parameter `/loopcast/<feed>/<path>`; None when there is none. Other errors of the store are raised."""
    try:
        found = aws.client("ssm").get_parameter(Name=names.parameter(*path))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ParameterNotFound":
            raise
        return None
    return str(found["Parameter"]["Value"])


def number(names: Names, *path: str) -> float | None:
    """The parameter as a number; None when there is none. Raises `Refused` when it is no number."""
    found = text(names, *path)
    if found is None:
        return None
    try:
        value = float(found)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise Refused(f"The parameter {names.parameter(*path)} must be a number, not {found!r}.")
    return value
