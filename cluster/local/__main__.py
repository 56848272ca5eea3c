"""A Ray cluster of several nodes on this machine, with S3 and Prometheus, until Ctrl-C.

    python -m cluster.local --cpu 2 --spot 1            three workers of one CPU each
    python -m cluster.local --cpu 4 --gpu 1 --autoscale  none at first; up to so many on demand
    python -m cluster.local add spot                     one more, where its env.sh is loaded
    python -m cluster.local kill spot                    one less, as if its host lost its power

Each node is a `ray start` process with a raylet of its own. Prints how to reach it, and leaves
nothing behind; it touches no process that it did not start. Linux only.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType

from cluster.local.monitoring import prometheus
from cluster.local.nodes import NodeType
from cluster.local.orders import PLACE, NoAnswerError, give, obey
from cluster.local.ray_cluster import LocalCluster, LocalClusterError
from cluster.local.s3 import S3Server, S3ServerError

BUCKET = "synth"


def counted(given: argparse.Namespace) -> dict[NodeType, int]:
    """The node types, with the counts that were asked for."""
    each = given.cpus_per_node
    return {
        NodeType("cpu", each): given.cpu,
        NodeType("spot", each, market="spot"): given.spot,
        # Ray counts it; nothing on it computes.
        NodeType("gpu", each, gpus=1): given.gpu,
    }


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m cluster.local", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("order", nargs="*", metavar="ORDER", help="to the one that runs: add TYPE, kill NODE|TYPE")
    add("--cpu", type=int, default=2, metavar="NODES", help="on-demand nodes (2)")
    add("--spot", type=int, default=0, metavar="NODES", help="nodes labelled as spot (0)")
    add("--gpu", type=int, default=0, metavar="NODES", help="nodes with a pretended GPU (0)")
    add("--cpus-per-node", type=int, default=1, metavar="CPUS", help="of each node (1)")
    add("--autoscale", action="store_true", help="start from none; the numbers are the most")
    add("--idle", type=float, default=60, metavar="SECONDS", help="until a node is given back (60)")
    add("--port", type=int, default=8265, help="of the dashboard, which takes jobs (8265)")
    add("--data", type=Path, metavar="FOLDER", help="keeps what S3 holds; none: gone at the end")
    return parser.parse_args()


def told(
    cluster: LocalCluster, s3: S3Server, watched: str | None, given: argparse.Namespace
) -> str:
    """What a person needs to use it; writes the file with the environment."""
    file = cluster.place / "env.sh"
    file.touch(mode=0o600)  # it holds the S3 server's keys
    variables = {**cluster.access, PLACE: str(cluster.place)}
    lines = [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    file.write_text("\n".join(lines) + "\n")
    nodes = ", ".join(f"{count} {kind.name}" for kind, count in cluster.groups.items()) or "none"
    idle = f" at most; an idle one goes after {given.idle:g} s" if given.autoscale else ""
    return f"""\
Ray         {cluster.address}, dashboard and jobs {cluster.url}
workers     {nodes} of {given.cpus_per_node} CPU{idle}
S3          {s3.endpoint}, bucket s3://{BUCKET}
Prometheus  {watched or "none: no `prometheus` on the path"}

In another shell, first:
    . {file}
then, for instance, with data.source and output at s3://{BUCKET}/… or on this machine:
    python -m synthray submit generate CONFIG --address {cluster.url}
    python -m synthray generate CONFIG --address {cluster.address}
    ray job list
    ray status --address {cluster.address}
    python -m cluster.local add cpu
    python -m cluster.local kill {next(iter(cluster.groups), NodeType("cpu", 1)).name}

Ctrl-C ends it."""


def interrupted(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> None:
    given = parsed()
    if given.order:
        try:
            print(give(given.order))
        except NoAnswerError as error:
            sys.exit(str(error))
        return
    counts = counted(given)
    kinds = {kind.name: kind for kind in counts}
    groups = {kind: count for kind, count in counts.items() if count}
    signal.signal(signal.SIGTERM, interrupted)
    # Ignored in a background job of a script; the one way to end this must work there too.
    signal.signal(signal.SIGINT, interrupted)
    with tempfile.TemporaryDirectory(prefix="src-s3-") as folder:
        s3 = S3Server(given.data or Path(folder))
        try:
            print("starting …", file=sys.stderr, flush=True)
            s3.start()
            make_bucket(s3)
            idle = given.idle if given.autoscale else None
            with (
                LocalCluster(groups, idle, given.port, s3.env()) as cluster,
                prometheus(cluster.place) as watched,
            ):
                print(told(cluster, s3, watched, given), flush=True)
                while True:
                    cluster.check()
                    for answer in obey(cluster, kinds):
                        print(answer, flush=True)
                    time.sleep(1)
        except (LocalClusterError, S3ServerError) as error:
            sys.exit(str(error))
        except KeyboardInterrupt:
            print("ended", file=sys.stderr)
        finally:
            s3.kill()


def make_bucket(s3: S3Server) -> None:
    """With --data it may be there from another time."""
    client = s3.client()
    if BUCKET not in {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    client.close()


if __name__ == "__main__":
    main()
