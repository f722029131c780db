"""AWS on a laptop: ministack in this process, with what it lacks for our path."""
