"""Memory at hand, as Linux describes it: files in a folder that stands for the root."""

import torch

from samspl.inference.memory import memory_at_hand

CPU = torch.device("cpu")


def write(root, name, text):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_machine_says_what_is_available(tmp_path):
    write(tmp_path, "proc/meminfo", "MemTotal: 900 kB\nMemFree: 10 kB\nMemAvailable:  500 kB\n")
    assert memory_at_hand(CPU, tmp_path) == 500 * 1024


def test_limit_of_a_container_counts_where_it_is_less(tmp_path):
    write(tmp_path, "proc/meminfo", "MemAvailable:  500 kB\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "300000\n")
    write(tmp_path, "sys/fs/cgroup/memory.current", "250000\n")
    write(tmp_path, "sys/fs/cgroup/memory.stat", "anon 1\ninactive_file 40000\n")
    assert memory_at_hand(CPU, tmp_path) == 90000  # files that are only cached are given back
    write(tmp_path, "sys/fs/cgroup/memory.max", "max\n")
    assert memory_at_hand(CPU, tmp_path) == 500 * 1024


def test_first_version_of_containers_is_known(tmp_path):
    write(tmp_path, "proc/meminfo", "MemAvailable:  500 kB\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "1000")
    write(tmp_path, "sys/fs/cgroup/memory/memory.usage_in_bytes", "700")
    write(tmp_path, "sys/fs/cgroup/memory/memory.stat", "total_inactive_file 50\n")
    assert memory_at_hand(CPU, tmp_path) == 350


def test_other_systems_answer_or_say_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("os.sysconf", {"SC_PHYS_PAGES": 100, "SC_PAGE_SIZE": 10}.__getitem__)
    assert memory_at_hand(CPU, tmp_path) == 500
    monkeypatch.delattr("os.sysconf")
    assert memory_at_hand(CPU, tmp_path) is None
