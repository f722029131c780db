"""The launcher: one port of this machine, a clear refusal, and state that outlives the process."""

from __future__ import annotations

from loopcast.aws import client
from tests.conftest import Service


def test_a_client_without_settings_of_its_own_reaches_the_local_aws(aws: Service) -> None:
    client("s3").create_bucket(Bucket="reached")
    client("s3").put_object(Bucket="reached", Key="a/b", Body=b"c")
    assert client("s3").get_object(Bucket="reached", Key="a/b")["Body"].read() == b"c"
