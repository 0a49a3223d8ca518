"""The cluster's small pure parts."""

import ipaddress
from string import Template

import pytest

from e2e.cluster import topology
from e2e.cluster.builds import GO_BUILDS
from e2e.cluster.controlplane import parse_taint
from e2e.cluster.debian import parse_uris
from e2e.cluster.paths import MANIFESTS
from e2e.cluster.shell import ClusterError, run, tail_of
from e2e.cluster.stages import explain, stamp


def test_archive_addresses_are_read_from_both_formats_of_apt() -> None:
    sources = """\
Types: deb
# http://snapshot.test/debian
URIs: http://mirror.test/debian
deb [signed-by=/key] https://other.test/apt stable main
# deb http://off.test/debian bookworm main
"""
    assert parse_uris(sources) == ["http://mirror.test/debian", "https://other.test/apt"]


def test_a_taint_has_key_value_and_effect() -> None:
    assert parse_taint("nvidia.com/gpu=present:NoSchedule") == ("nvidia.com/gpu", "present", "NoSchedule")


def test_every_node_has_addresses_of_its_own_inside_the_networks() -> None:
    assert len({node.address for node in topology.NODES}) == len(topology.NODES)
    for node in topology.NODES:
        assert ipaddress.ip_address(node.address) in ipaddress.ip_network(topology.NODE_NETWORK)
        assert ipaddress.IPv4Network(node.pod_network).subnet_of(ipaddress.IPv4Network(topology.POD_NETWORK))


def test_an_unknown_node_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="node-1, node-2"):
        topology.node_named("node-9")


def test_every_go_build_is_pinned_by_a_go_mod() -> None:
    assert [build.name for build in GO_BUILDS if not (build.directory / "go.mod").exists()] == []


def test_every_manifest_is_a_sound_template() -> None:
    templates = [Template(path.read_text()) for path in MANIFESTS.iterdir()]
    assert all(template.is_valid() for template in templates)


def test_a_failed_command_tells_its_last_words() -> None:
    with pytest.raises(ClusterError, match=r"exit 3\nwhy"):
        run(["sh", "-c", "echo why >&2; exit 3"])


def test_an_explanation_ends_with_the_remedy() -> None:
    assert explain(ClusterError("it broke", "mend it")) == "error: it broke\nremedy: mend it"


def test_lines_are_stamped_and_tails_are_short() -> None:
    assert stamp(12.34, "etcd …") == "[  12.3s] etcd …"
    assert tail_of("a\nb\nc", 2) == "b\nc"
