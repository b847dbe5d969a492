"""What each command does; `cli/` parses and turns the results into exit codes."""
