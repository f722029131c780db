"""Files to and from S3, as SageMaker lays them out."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import ClientError

from local.sagemaker.archives import unpack
from loopcast import aws

_PARALLEL = 8


class StorageError(Exception):
    """What was asked of S3 is not there or can't be had; the message names it."""


def keys_under(uri: str) -> Iterator[str]:
    """The keys of all objects whose address begins with `uri`; folder markers are left out."""
    bucket, prefix = aws.split_s3(uri)
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    for page in pages:
        for item in page.get("Contents", []):
            if not item["Key"].endswith("/"):
                yield item["Key"]


def folders_in(uri: str) -> list[str]:
    """The addresses of the folders that lie directly in the folder `uri`, without a slash at their end."""
    bucket, prefix = aws.split_s3(f"{uri.rstrip('/')}/")
    pages = aws.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
    found = [item["Prefix"] for page in pages for item in page.get("CommonPrefixes", [])]
    return [f"s3://{bucket}/{folder.rstrip('/')}" for folder in found]


def relative_key(prefix: str, key: str) -> str:
    """Where the object `key` lies below the folder that `prefix` names; the file's name when `prefix` is the object."""
    inner = prefix if prefix.endswith("/") or not prefix else f"{prefix}/"
    if key.startswith(inner):
        return key.removeprefix(inner)
    return key[prefix.rfind("/") + 1 :]


def download(source: dict[str, Any], folder: Path) -> int:
    """Fetches what an `S3DataSource` or `S3Input` (S3Uri, S3DataType) names into `folder`; the number of files.
    Raises `StorageError` when nothing is there."""
    files = list(_listing(source))
    if not files:
        raise StorageError(f"No S3 objects found under S3 URL {source['S3Uri']!r}")
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(_PARALLEL) as pool:
        list(pool.map(lambda file: _fetch(file[0], file[1], _inside(folder, file[2])), files))
    return len(files)


def upload(folder: Path, uri: str) -> None:
    """Puts every file in `folder` under `uri`."""
    bucket, prefix = aws.split_s3(uri.rstrip("/"))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    with ThreadPoolExecutor(_PARALLEL) as pool:
        list(pool.map(lambda path: _put(path, bucket, f"{prefix}/{path.relative_to(folder).as_posix()}"), files))


def upload_archive(folder: Path, archive: Path, uri: str) -> None:
    """Packs what is in `folder` into `archive`, a gzipped tar file, and puts it at `uri`."""
    with tarfile.open(archive, "w:gz", compresslevel=3) as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, path.name)
    bucket, key = aws.split_s3(uri)
    _put(archive, bucket, key)


def download_archive(uri: str, folder: Path) -> None:
    """Unpacks the gzipped tar file at `uri` into `folder`. Raises `StorageError`."""
    bucket, key = aws.split_s3(uri)
    archive = folder.parent / "archive.tar.gz"
    _fetch(bucket, key, archive)
    try:
        with tarfile.open(archive, "r:gz") as tar:
            unpack(tar, folder)
    except tarfile.TarError as error:
        raise StorageError(f"{uri} can't be unpacked as a tar.gz file: {error}") from error
    archive.unlink()


def read(bucket: str, key: str) -> bytes:
    """Raises `StorageError`."""
    try:
        return bytes(aws.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    except ClientError as error:
        raise StorageError(f"can't read s3://{bucket}/{key}: {error}") from error


def write(uri: str, body: bytes) -> None:
    bucket, key = aws.split_s3(uri)
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=body)


def exists(uri: str) -> bool:
    """Whether an object lies at `uri`."""
    bucket, key = aws.split_s3(uri)
    try:
        aws.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError:
        return False
    return True


def _listing(source: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(bucket, key, path below the folder) of every file."""
    bucket, prefix = aws.split_s3(source["S3Uri"])
    if source.get("S3DataType") == "ManifestFile":
        head, *names = json.loads(read(bucket, prefix))
        bucket, prefix = aws.split_s3(head["prefix"])
        yield from ((bucket, f"{prefix}{name}", name) for name in names)
    else:
        yield from ((bucket, key, relative_key(prefix, key)) for key in keys_under(source["S3Uri"]))


def _inside(folder: Path, name: str) -> Path:
    """A key may hold `..`: no file is written outside the folder."""
    if ".." in PurePosixPath(name).parts:
        raise StorageError(f"the key {name!r} leads out of its folder")
    return folder / name.lstrip("/")


def _fetch(bucket: str, key: str, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        aws.client("s3").download_file(bucket, key, str(path))
    except ClientError as error:
        raise StorageError(f"can't read s3://{bucket}/{key}: {error}") from error


def _put(path: Path, bucket: str, key: str) -> None:
    aws.client("s3").upload_file(str(path), bucket, key)
