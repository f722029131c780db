"""The environment variables that the container contract promises to a program."""

from __future__ import annotations

import json
import os
from pathlib import Path

from local.sagemaker.registry import Json
from loopcast import aws


def common_environment(python: Path | None) -> dict[str, str]:
    """What every program gets: the region and, unless a container has its own, its environment's commands first."""
    region = {"AWS_REGION": aws.region(), "AWS_DEFAULT_REGION": aws.region()}
    if python is None:
        return region
    return {**region, "PATH": f"{python.parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def training_environment(document: Json, base: str, python: Path | None, interface: str = "lo") -> dict[str, str]:
    """The variables of the training job that `document` describes, whose files lie below `base`."""
    hyperparameters = document.get("HyperParameters", {})
    channels = {name: f"{base}/input/data/{name}" for name in _channel_names(document)}
    instance = document.get("ResourceConfig", {}).get("InstanceType", "local")
    return {
        **common_environment(python),
        "TRAINING_JOB_NAME": document["TrainingJobName"],
        "TRAINING_JOB_ARN": document["TrainingJobArn"],
        "SM_MODEL_DIR": f"{base}/model",
        "SM_INPUT_DIR": f"{base}/input",
        "SM_INPUT_CONFIG_DIR": f"{base}/input/config",
        "SM_OUTPUT_DIR": f"{base}/output",
        "SM_OUTPUT_DATA_DIR": f"{base}/output/data",
        "SM_OUTPUT_FAILURE": f"{base}/output/failure",
        "SM_CHANNELS": json.dumps(sorted(channels)),
        "SM_HPS": json.dumps(hyperparameters),
        "SM_HOSTS": '["algo-1"]',
        "SM_CURRENT_HOST": "algo-1",
        "SM_CURRENT_INSTANCE_TYPE": instance,
        "SM_NETWORK_INTERFACE_NAME": interface,
        "SM_NUM_CPUS": str(os.cpu_count()),
        "SM_NUM_GPUS": "0",
        **{f"SM_CHANNEL_{_upper(name)}": path for name, path in channels.items()},
        **{f"SM_HP_{_upper(name)}": value for name, value in hyperparameters.items()},
        **document.get("Environment", {}),
    }


def _channel_names(document: Json) -> list[str]:
    return [channel["ChannelName"] for channel in document.get("InputDataConfig", [])]


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
