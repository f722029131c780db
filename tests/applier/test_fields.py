from __future__ import annotations

from functools import cache

import pytest
from botocore.model import StructureShape
from hypothesis import given
from hypothesis import strategies as st

from applier.fields import ack_name, api_names
from applier.kinds import KINDS
from applier.kinds.core import model

SERVICES = sorted({kind.service for kind in KINDS})


@cache
def structures() -> list[StructureShape]:
    """Every structure with fields in the models of the services that have a kind."""
    shapes = [model(service).shape_for(name) for service in SERVICES for name in model(service).shape_names]
    return [shape for shape in shapes if isinstance(shape, StructureShape) and shape.members]


@pytest.mark.parametrize(
    ("api", "ack"),
    [
        ("RoleArn", "roleARN"),
        ("RoleARN", "roleARN"),
        ("S3Uri", "s3URI"),
        ("KmsKeyId", "kmsKeyID"),
        ("KMSKeyId", "kmsKeyID"),
        ("KMSMasterKeyID", "kmsMasterKeyID"),
        ("SSESpecification", "sseSpecification"),
        ("SSEAlgorithm", "sseAlgorithm"),
        ("SqsManagedSseEnabled", "sqsManagedSSEEnabled"),
        ("BlockPublicAcls", "blockPublicACLs"),
        ("SizeInMBs", "sizeInMBs"),
        ("AWSKMSKeyARN", "awsKMSKeyARN"),
        ("SSEKMSEncryptedObjects", "sseKMSEncryptedObjects"),
        ("SecurityGroupIds", "securityGroupIDs"),
        ("VolumeSizeInGB", "volumeSizeInGB"),
        ("Id", "id"),
        ("ARN", "arn"),
        ("ID", "id"),
        ("TTLDuration", "ttlDuration"),
        ("TtlDuration", "ttlDuration"),
        ("HttpEndpointDestinationConfiguration", "httpEndpointDestinationConfiguration"),
        ("ApplyServerSideEncryptionByDefault", "applyServerSideEncryptionByDefault"),
        ("ResolvedOutputS3Uri", "resolvedOutputS3URI"),
        ("ExtendedS3DestinationConfiguration", "extendedS3DestinationConfiguration"),
        ("repositoryName", "repositoryName"),
    ],
)
def test_a_field_is_named_as_ack_names_it(api: str, ack: str) -> None:
    assert ack_name(api) == ack


@given(st.deferred(lambda: st.sampled_from(structures())))
def test_from_acks_name_of_any_field_the_apis_own_is_found_again(shape: StructureShape) -> None:
    names = api_names(shape.members)

    assert [names[ack_name(member)] for member in shape.members] == list(shape.members)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_no_two_fields_of_a_kind_have_the_same_name(kind) -> None:
    names = kind.field_names()

    assert sorted(names.values()) == sorted(kind.shapes())
    assert {kind.ack_name(api): api for api in names.values()} == names
