"""Observers: threads of the harness that sample servers, processes, pools and logs while a run goes on."""
