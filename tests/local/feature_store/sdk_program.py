"""What a notebook does with the SageMaker SDK and a feature group; run by its environment's Python.

Arguments: the group's name and the bucket. Prints a JSON object of what it saw.
"""

from __future__ import annotations

import json
import sys
import time

import pandas as pd
from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import FeatureGroup
from sagemaker.core.shapes import FeatureValue, OfflineStoreConfig, OnlineStoreConfig, S3StorageConfig
from sagemaker.mlops.feature_store.feature_utils import (
    create_athena_query,
    ingest_dataframe,
    load_feature_definitions_from_dataframe,
)

name, bucket = sys.argv[1:]
frame = pd.DataFrame(
    {
        "record_id": ["a", "b"],
        "event_time": ["2026-11-21T10:00:00Z", "2026-11-21T11:00:00Z"],
        "count": [1, 2],
        "mean": [0.5, 1.5],
    }
)
group = FeatureGroup.create(
    feature_group_name=name,
    record_identifier_feature_name="record_id",
    event_time_feature_name="event_time",
    feature_definitions=load_feature_definitions_from_dataframe(frame),
    online_store_config=OnlineStoreConfig(enable_online_store=True),
    offline_store_config=OfflineStoreConfig(s3_storage_config=S3StorageConfig(s3_uri=f"s3://{bucket}/offline")),
    role_arn="arn:aws:iam::000000000000:role/feature-store",
)
group.wait_for_status(target_status="Created", poll=1)
ingest_dataframe(feature_group_name=name, data_frame=frame)
group.put_record(
    record=[
        FeatureValue(feature_name="record_id", value_as_string="c"),
        FeatureValue(feature_name="event_time", value_as_string="2026-11-21T12:00:00Z"),
    ]
)
record = group.get_record(record_identifier_value_as_string="b").record

query = create_athena_query(name, Session(default_bucket=bucket))
deadline, rows = time.monotonic() + 60, pd.DataFrame()
while len(rows) < 3 and time.monotonic() < deadline:
    query.run(f'SELECT * FROM "{query.table_name}" ORDER BY record_id', f"s3://{bucket}/athena")
    query.wait()
    rows = query.as_dataframe()

listed = [item.feature_group_name for item in FeatureGroup.get_all(name_contains=name)]
group.delete()
print(
    json.dumps(
        {
            "online": {item.feature_name: item.value_as_string for item in record},
            "offline": rows[["record_id", "event_time"]].to_numpy().tolist(),
            "sum": float(rows["mean"].sum()),
            "listed": listed,
        }
    )
)
