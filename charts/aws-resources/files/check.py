"""Waits until the Job that is named has succeeded; fails with what it said last when it has failed."""

import os
import sys
import time

import kubernetes

NAMESPACE, NAME, SECONDS = os.environ["NAMESPACE"], os.environ["NAME"], float(os.environ["SECONDS"])

kubernetes.config.load_incluster_config()
jobs, core = kubernetes.client.BatchV1Api(), kubernetes.client.CoreV1Api()


def last_words() -> str:
    """What the Job's newest pod said last."""
    pods = core.list_namespaced_pod(NAMESPACE, label_selector=f"batch.kubernetes.io/job-name={NAME}").items
    states = [status.state.terminated for pod in pods for status in pod.status.container_statuses or []]
    ended = sorted((state for state in states if state), key=lambda state: state.finished_at)
    return (ended[-1].message or "").strip() if ended else ""


deadline = time.monotonic() + SECONDS
while time.monotonic() < deadline:
    conditions = {item.type: item for item in jobs.read_namespaced_job(NAME, NAMESPACE).status.conditions or []}
    if "Complete" in conditions:
        sys.exit(0)
    if "Failed" in conditions:
        sys.exit(f"the AWS resources were not applied: {conditions['Failed'].message}\n{last_words()}")
    time.sleep(2)
sys.exit(f"after {SECONDS:g} s the AWS resources were not applied: see the logs of job/{NAME}\n{last_words()}")
