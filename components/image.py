"""The version of this project's images, and the one that every step of a pipeline runs in."""

VERSION = "0.1.0"
IMAGE = f"loopcast/pipelines:{VERSION}"
