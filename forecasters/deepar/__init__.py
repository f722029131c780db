"""An open DeepAR on GluonTS with the built-in algorithm's hyperparameters, data and answers."""
