"""A development cluster on one machine: Flink, Beam's job server, a pool of Python workers and an S3 server, all on the loopback.

It is there to try and to test what m3w does on a cluster; it keeps nothing safe and lets in everybody who can reach the loopback. Everything it
needs, writes and knows of itself is in one folder, `.cluster` (`make cluster` fills it):

    flink/, job-server/   the jars
    conf/, logs/, tmp/    Flink's configuration, a log a process, where workers and Flink spill
    state.json            ports, and which processes are ours
    env                   what a shell needs to reach the store: set -a; . .cluster/env

`python -m jobs.cluster start|stop|status [FOLDER]`; `start` on a cluster of which something has died starts what is missing, at its old port.
"""
