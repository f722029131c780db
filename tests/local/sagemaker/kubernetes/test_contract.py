"""Programs in pods keep the promises that programs on this machine keep: the same tests, on a server of the cluster."""

from __future__ import annotations

import pytest

from tests.local.sagemaker import test_endpoints as endpoints
from tests.local.sagemaker import test_processing as processing
from tests.local.sagemaker import test_training as training
from tests.local.sagemaker import test_transform as transform

pytestmark = pytest.mark.cluster

PROMISES = [
    training.test_a_program_finds_its_data_and_configuration_where_the_contract_says,
    training.test_a_program_gets_the_variables_of_the_contract,
    training.test_a_job_tells_its_states_in_order_with_their_times,
    training.test_a_failure_file_is_the_reason_of_the_failure,
    training.test_what_a_program_leaves_beside_its_model_becomes_output_tar_gz,
    training.test_a_job_goes_on_from_its_checkpoints,
    training.test_metrics_are_the_last_values_in_the_log,
    training.test_the_log_is_in_cloudwatch,
    training.test_a_program_that_says_nothing_completes,
    training.test_a_stopped_job_leaves_its_model,
    training.test_a_job_that_runs_too_long_is_stopped,
    training.test_the_hosts_of_a_job_find_each_other_by_name,
    training.test_a_host_that_fails_fails_the_job_and_stops_the_others,
    processing.test_inputs_and_outputs_are_at_their_local_paths,
    processing.test_an_exit_code_fails_the_job_and_nothing_is_uploaded,
    transform.test_every_object_is_transformed_by_the_model_with_the_jobs_environment,
    transform.test_a_refused_record_fails_the_job_with_what_the_model_said,
    transform.test_a_model_that_does_not_start_fails_the_job_with_the_end_of_its_log,
    endpoints.test_a_models_error_keeps_its_status,
    endpoints.test_a_failed_update_goes_on_serving_what_was_served,
    endpoints.test_an_endpoint_whose_model_does_not_start_fails_with_a_reason,
    endpoints.test_a_program_that_dies_is_started_again,
    endpoints.test_what_was_asked_and_answered_is_captured,
]
globals().update({promise.__name__: promise for promise in PROMISES})
