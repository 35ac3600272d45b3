"""Processes that train together, as torchrun would start them."""

import multiprocessing
import os
import socket
from collections.abc import Callable

WAIT_S = 240  # for all that they do


def exit_codes(ranks: int, work: Callable[..., None], *given: object) -> list[int | None]:
    """How that many processes ended, each of which did `work(rank, *given)`, None for one that would not end; they meet on the loopback where `work` joins them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.test_ranks"])  # which imports what takes long
    port = free_port()
    processes = [context.Process(target=_begin, args=(rank, ranks, port, work, *given)) for rank in range(ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WAIT_S)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    return codes


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _begin(rank: int, ranks: int, port: int, work: Callable[..., None], *given: object) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    work(rank, *given)
