"""Real clusters, and the thread with a loop of its own on which a feed lives."""

import asyncio
import socket
import threading
import time

import pytest
from distributed import Client, LocalCluster

from jupyter_dask_doctor.gather.cluster import Feed
from jupyter_dask_doctor.gather.code import CellLog
from jupyter_dask_doctor.gather.submissions import Submissions


class Follower:
    """Feeds on their own thread, as in a kernel."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.submissions = Submissions()
        self.submissions.install()
        self.cells = CellLog()
        self.feeds = []

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def follow(self, client):
        """A feed that has pulled once."""
        feed = Feed(client, self.submissions)
        self.feeds.append(feed)
        self.pull(feed)
        return feed

    def pull(self, feed):
        self.run(feed.pull())
        return feed.sections(self.cells)

    def until(self, feed, condition, timeout=20):
        """Pull twice a second until the sections are as wished; return them."""
        end = time.monotonic() + timeout
        while True:
            sections = self.pull(feed)
            if condition(sections):
                return sections
            assert time.monotonic() < end, (feed.state, feed.reason, sections)
            time.sleep(0.2)

    def close(self):
        for feed in self.feeds:
            self.run(feed.close())
        self.submissions.uninstall()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture
def follower():
    follower = Follower()
    yield follower
    follower.close()


@pytest.fixture
def make_cluster():
    """Start a LocalCluster: threads of this process over tcp unless told otherwise."""
    opened = []

    def make(**options):
        options = {
            "n_workers": 2,
            "threads_per_worker": 1,
            "processes": False,
            "protocol": "tcp",
            "dashboard_address": "127.0.0.1:0",
        } | options
        if options["processes"]:
            del options["protocol"]
        cluster = LocalCluster(**options)
        opened.append(cluster)
        return cluster

    yield make
    for cluster in opened:
        cluster.close()


@pytest.fixture
def cluster(make_cluster):
    return make_cluster()


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        yield client


@pytest.fixture
def feed(follower, client):
    return follower.follow(client)


@pytest.fixture
def port():
    """One of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
