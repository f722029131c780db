"""Images, and the installation on a cluster: `python -m install images|up|down|status`."""
