"""Our open counterpart of the image `sagemaker-model-monitor-analyzer`: model quality of a regression.

Run as `python -m local.sagemaker.analyzer` under the container contract, it reads the variables that the built-in
container reads, and writes statistics.json, constraints.json and constraint_violations.json as it does.
"""
