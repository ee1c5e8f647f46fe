"""What the figures were measured on."""

import os
import pathlib
import platform
import subprocess
import time


def describe():
    """A short description of this machine, for the reports."""
    cpu = read_fields("/proc/cpuinfo")
    memory = int(read_fields("/proc/meminfo")["MemTotal"].split()[0]) / 1024 / 1024
    flags = cpu.get("flags", "").split()
    notable = [flag for flag in ("avx2", "avx512bw", "avx512_vbmi", "avx512vbmi", "avx512_vnni") if flag in flags]
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": cpu.get("model name", platform.processor()),
        "family_model": f"{cpu.get('cpu family', '?')}/{cpu.get('model', '?')}",
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in flags,
        "instructions": notable,
        "caches": caches(),
        "memory_gib": round(memory, 1),
        "kernel": platform.release(),
        "load": os.getloadavg()[0],
        "commit": commit(),
    }


def read_fields(path):
    """The first value of each `name : value` line."""
    fields = {}
    for line in open(path):
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    return fields


def caches():
    """Sizes of the data caches of core 0, such as `32K 1024K 32768K`."""
    sizes = []
    for cache in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        if (cache / "type").read_text().strip() != "Instruction":
            sizes.append((cache / "size").read_text().strip())
    return " ".join(sizes)


def commit():
    here = pathlib.Path(__file__).parent
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=here, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def sentence(machine):
    """The description as one line of Markdown."""
    kind = "virtual machine, " if machine["virtual"] else ""
    return (
        f"{machine['processor']} (family/model {machine['family_model']}), {kind}{machine['cores']} cores, "
        f"data caches {machine['caches']}, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
        f"{' '.join(machine['instructions'])}; {machine['date']}, load {machine['load']:.1f} at the start, "
        f"commit {machine['commit']}"
    )
