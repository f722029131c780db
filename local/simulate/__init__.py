"""The closed loop's decisions over a recording, with real training and without the streaming parts."""
