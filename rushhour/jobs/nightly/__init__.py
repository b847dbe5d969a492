"""The nightly pre-release job: a suite of runs, what changed since the last good night, and what is kept."""
