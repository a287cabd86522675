"""Fuzzing: minutes of made-up input against whatever reads bytes or text from outside. Run by `make fuzz` alone."""
