"""What users reported: a file for each kind, its cases in a table, so that the next report is a line."""
