"""The hotfix drill: one of many services is changed under load, and proof that no other was touched."""
