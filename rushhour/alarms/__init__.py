"""Replays alarm policies over a history: pages and silence (pure; a module per alarm system)."""
