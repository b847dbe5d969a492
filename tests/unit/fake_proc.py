"""A `/proc` that says which control groups this process is in."""

from pathlib import Path


def fake_proc(root: Path, mountinfo: list[str], own: list[str]) -> Path:
    """Write `mountinfo` and `cgroup` of this process below `root`; return the `/proc`."""
    (root / "proc" / "self").mkdir(parents=True)
    (root / "proc" / "self" / "mountinfo").write_text("".join(line + "\n" for line in mountinfo))
    (root / "proc" / "self" / "cgroup").write_text("".join(line + "\n" for line in own))
    return root / "proc"
