"""Observers: threads of the harness that sample servers, processes, pools and logs during a run."""
