"""History -> cause, evidence, amplifiers (pure)."""

from rushhour.diagnosis.findings import Diagnosis, Evidence, HeldSite

__all__ = ["Diagnosis", "Evidence", "HeldSite"]
