"""`python -m flink.credentials`: this pod's AWS credentials, as a `credential_process` prints them.

Flink's S3 file system and its Kinesis connector carry AWS SDKs that are older than EKS Pod Identity and can't ask its
agent. They can run a program for credentials, and boto3 knows Pod Identity.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import boto3

POD_IDENTITY = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_FILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE", "AWS_CREDENTIAL_PROFILES_FILE")


def environment(folder: Path) -> Mapping[str, str]:
    """What has the SDKs run this program where EKS Pod Identity is used, else nothing; it writes a file in `folder`."""
    if POD_IDENTITY not in os.environ:
        return {}
    file = folder / "aws"
    file.write_text(f"[default]\ncredential_process = {sys.executable} -m flink.credentials\n")
    return dict.fromkeys(_FILES, str(file))


def main() -> None:
    for name in _FILES:  # else it would ask itself
        os.environ.pop(name, None)
    credentials = boto3.session.Session().get_credentials()
    if credentials is None:
        raise SystemExit("flink.credentials: there are no AWS credentials")
    frozen = credentials.get_frozen_credentials()
    printed = {"Version": 1, "AccessKeyId": frozen.access_key, "SecretAccessKey": frozen.secret_key}
    printed |= {"SessionToken": frozen.token} if frozen.token else {}
    expires = getattr(credentials, "_expiry_time", None)
    printed |= {"Expiration": expires.strftime("%Y-%m-%dT%H:%M:%SZ")} if expires else {}
    print(json.dumps(printed))


if __name__ == "__main__":
    main()
