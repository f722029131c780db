"""`python -m operators`: follows policies, in a cluster or (`--standalone`) on this machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from loopcast import service
from loopcast.service import Part
from operators import standalone

DESCRIPTION = "Watches alarms, retrains models and takes them into service, as policies say."


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--standalone", action="store_true", help="policies from files, pipelines as processes")
    parser.add_argument("--policies", type=Path, nargs="+", default=[Path("manifests/policies")], help="files, folders")
    parser.add_argument("--state", type=Path, default=Path(".loopcast/operator"), help="folder of the standalone state")
    parser.add_argument("--poll-interval", type=float, default=15.0, help="seconds from one look to the next")
    parser.add_argument("--namespace", default="default", help="the Kubernetes namespace whose policies are followed")
    parser.add_argument("--runs", choices=["kfp", "jobs"], default="kfp", help="runs in Kubeflow Pipelines, or as Jobs")
    parser.add_argument(
        "--job-template", type=Path, help="file with the Job that runs are made of (container `pipeline`)"
    )
    parser.add_argument("--job-owner", default="", help="the Deployment with which the Jobs go: the operator's own")
    parser.add_argument("--kfp-url", default="http://ml-pipeline.kubeflow:8888", help="Kubeflow Pipelines' API")
    parser.add_argument("--kfp-namespace", default="", help="of a Kubeflow Pipelines with several users")
    parser.add_argument("--kfp-service-account", default="", help="which the runs' pods have in Kubeflow Pipelines")


def _work(part: Part, settings: argparse.Namespace) -> None:
    if settings.poll_interval <= 0:
        raise SystemExit(f"--poll-interval must be above 0, not {settings.poll_interval}")
    if settings.runs == "jobs" and not settings.standalone and settings.job_template is None:
        raise SystemExit("--runs jobs needs a --job-template")
    if settings.standalone:
        standalone.work(part, settings.policies, settings.state, Path(settings.feed), settings.poll_interval)
        return
    from operators import cluster  # kopf is not needed without one

    cluster.work(part, settings)


if __name__ == "__main__":
    service.run("operator", DESCRIPTION, _work, _flags)
