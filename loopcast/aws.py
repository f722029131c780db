"""The one place that makes AWS clients: time-outs and bounded retries with jitter for every call.

Where the APIs are is configuration: boto3 reads AWS_ENDPOINT_URL and AWS_ENDPOINT_URL_<SERVICE>, AWS_REGION and the
credentials by itself.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import boto3
from botocore.config import Config

_CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 5},
    max_pool_connections=32,
    s3={"addressing_style": "path"},
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


def region() -> str:
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"


@cache
def client(service: str) -> Any:
    """A thread-safe client of `service`, for example `client("s3")`; one for each process."""
    return boto3.session.Session().client(service, region_name=region(), config=_CONFIG)


@cache
def account() -> str:
    """The account's id: LOOPCAST_ACCOUNT, or what STS says."""
    return os.environ.get("LOOPCAST_ACCOUNT") or str(client("sts").get_caller_identity()["Account"])


def split_s3(uri: str) -> tuple[str, str]:
    """`("bucket", "some/key")` of `s3://bucket/some/key`."""
    if not uri.startswith("s3://"):
        raise ValueError(f"not an address in S3: {uri!r}")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
