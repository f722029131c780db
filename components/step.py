"""The decorator that makes a function a step of a pipeline. The functions themselves, at run time, don't need it."""

import functools

from kfp import dsl

from components.image import IMAGE

component = functools.partial(
    dsl.component,
    base_image=IMAGE,
    packages_to_install=[],  # the image has everything: nothing is installed when a step starts
    install_kfp_package=False,
)
