"""The door through which other local services publish AWS's own events, which real clients may not."""

from __future__ import annotations

SERVICE_HEADER = "x-loopcast-service"
"""A header of PutEvents: its entries may have a source that begins with `aws.`."""
