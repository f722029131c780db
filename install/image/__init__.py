"""What runs in the builds of the images, with the standard library alone (docs/images.md)."""
