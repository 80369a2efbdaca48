"""Ports for processes that are started later."""

import os
import socket

import pytest

from fleet.errors import FleetError
from fleet.runner import ports


def test_a_free_port_is_none_that_an_outgoing_connection_may_take():
    lowest = int(ports.EPHEMERAL.read_text().split()[0])
    assert ports.LOWEST <= ports.free() < lowest


def test_a_port_in_use_and_one_chosen_before_are_left_out():
    first = ports.free()
    with socket.create_server(("127.0.0.1", first)):
        second = ports.free()
        assert second > first
        assert ports.free({second}) > second


def test_processes_that_search_at_the_same_time_choose_different_ports(monkeypatch):
    found = set()
    for pid in range(1000, 1100):
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        found.add(ports.free())
    assert len(found) == 100


def test_a_machine_without_a_free_port_is_an_error():
    with pytest.raises(FleetError, match="no port between 10000 and"):
        ports.free(range(65_536))
