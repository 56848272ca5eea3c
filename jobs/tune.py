"""The tune stage as a Ray job.

    ray job submit --working-dir . -- python jobs/tune.py CONFIG [KEY=VALUE]

The driver of the job is the command line's own: `synthray tune CONFIG`, on the job's cluster.
"""

import sys

from synthray.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["tune"]
    main()
