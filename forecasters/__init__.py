"""The programs behind the models' images."""

import os

# The matrices are small: more threads than one cost more than they do, and on busy cores wait for each other, so that
# training the statistical model took 64 s instead of 4. It has to be said before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
