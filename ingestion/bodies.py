"""Bodies that are over a service's size limit lie in S3, under oversize/, by their content."""

from __future__ import annotations

import hashlib

from loopcast import aws
from loopcast.event import KEY, Event
from loopcast.names import Names


def store(names: Names, body: bytes) -> str:
    """Stores `body` and returns its address. Storing it again changes nothing. Raises AWS errors."""
    key = f"{names.oversize_prefix}{hashlib.sha256(body).hexdigest()}"
    aws.client("s3").put_object(Bucket=names.bucket, Key=key, Body=body)
    return names.s3(key)


def load(address: str) -> bytes:
    """The body at `address`. Raises AWS errors, and ValueError when it is no address."""
    bucket, key = aws.split_s3(address)
    body: bytes = aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def within(names: Names, event: Event, data: bytes, most_bytes: int) -> bytes:
    """`data`, the event's JSON; above `most_bytes`, it is stored and the event points there. Raises AWS errors."""
    if len(data) <= most_bytes:
        return data
    return slimmed(event, store(names, data), most_bytes).to_json()


def slimmed(event: Event, address: str, most_bytes: int) -> Event:
    """`event` with its body left at `address`, in at most `most_bytes`: with its scalar fields if they fit."""
    slim = event.with_body_at(address)
    if len(slim.to_json()) <= most_bytes:
        return slim
    return Event(slim.id, slim.time, slim.values, {KEY: slim.document[KEY]})
