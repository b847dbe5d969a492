"""Finds the cause of a run's trouble from its history: cause, evidence, amplifiers (pure)."""

from rushhour.diagnosis.choose import RULES, Rule, diagnose
from rushhour.diagnosis.findings import Confidence, Diagnosis, Evidence, Finding, HeldSite

__all__ = ["RULES", "Confidence", "Diagnosis", "Evidence", "Finding", "HeldSite", "Rule", "diagnose"]
