"""The version of this project's images, and the one that every step of a pipeline runs in."""

import os

VERSION = "0.1.0"
IMAGE = f"loopcast/pipelines:{VERSION}"


def tag() -> str:
    """The tag of the images to ask for: that of the image which this runs in, as both were built and pushed together;
    the code's own version where it runs in none."""
    return os.environ.get("LOOPCAST_VERSION") or VERSION
