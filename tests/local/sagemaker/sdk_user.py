"""What a user of the sagemaker SDK writes: trains, looks the job up, deploys the model and asks it.

Run by a test in the SDK's own environment; knows of no local server. Writes what it has found into a file, as JSON.
"""

import json
import sys
import tempfile
from pathlib import Path

from sagemaker.core.helper.session_helper import Session
from sagemaker.core.resources import Endpoint, EndpointConfig, Model, TrainingJob
from sagemaker.core.shapes import ContainerDefinition, ProductionVariant
from sagemaker.train import ModelTrainer
from sagemaker.train.configs import Compute, InputData, OutputDataConfig, SourceCode

SCRIPT = """
import os
with open(os.path.join(os.environ["SM_MODEL_DIR"], "name.txt"), "w") as file:
    file.write("from-the-sdk")
"""


def main(bucket: str, image: str, name: str, role: str, found_file: str) -> None:
    job = _train(bucket, image, name, role)
    found = TrainingJob.get(training_job_name=job.training_job_name)
    endpoint = _deploy(found.model_artifacts.s3_model_artifacts, image, name, role)
    answer = endpoint.invoke(body=b"hello", content_type="text/plain")
    said = {
        "status": found.training_job_status,
        "listed": [one.training_job_name for one in TrainingJob.get_all(name_contains=name)] == [job.training_job_name],
        "answer": answer.body.read().decode(),
    }
    endpoint.delete()
    endpoint.wait_for_delete(poll=1)
    Path(found_file).write_text(json.dumps(said))


def _train(bucket: str, image: str, name: str, role: str) -> TrainingJob:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "go.py").write_text(SCRIPT)
        trainer = ModelTrainer(
            sagemaker_session=Session(default_bucket=bucket),
            training_image=image,
            role=role,
            base_job_name=name,
            hyperparameters={"epochs": 3},
            source_code=SourceCode(source_dir=folder, entry_script="go.py"),
            compute=Compute(instance_type="ml.m5.large", instance_count=1),
            output_data_config=OutputDataConfig(s3_output_path=f"s3://{bucket}/{name}"),
        )
        trainer.train(input_data_config=[InputData(channel_name="train", data_source=f"s3://{bucket}/{name}-data/")])
    return trainer._latest_training_job


def _deploy(model_data: str, image: str, name: str, role: str) -> Endpoint:
    container = ContainerDefinition(image=image, model_data_url=model_data)
    Model.create(model_name=name, primary_container=container, execution_role_arn=role)
    variant = ProductionVariant(
        variant_name="v", model_name=name, initial_instance_count=1, instance_type="ml.m5.large"
    )
    EndpointConfig.create(endpoint_config_name=name, production_variants=[variant])
    endpoint = Endpoint.create(endpoint_name=name, endpoint_config_name=name)
    endpoint.wait_for_status("InService", poll=1)
    return endpoint


if __name__ == "__main__":
    main(*sys.argv[1:])
