"""The image that every step of a pipeline runs in, and the decorator that makes a function a step."""

import functools

from kfp import dsl

VERSION = "0.1.0"
IMAGE = f"loopcast-pipelines:{VERSION}"

component = functools.partial(
    dsl.component,
    base_image=IMAGE,
    packages_to_install=[],  # the image has everything: nothing is installed when a step starts
    install_kfp_package=False,
)
