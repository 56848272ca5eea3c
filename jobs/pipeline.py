"""The pipeline stage as a Ray job.

    ray job submit --working-dir . -- python jobs/pipeline.py CONFIG [KEY=VALUE]

The driver of the job is the command line's own: `synthray run CONFIG`, on the job's cluster.
"""

import sys

from synthray.cli import main

if __name__ == "__main__":
    sys.argv[1:1] = ["run"]
    main()
