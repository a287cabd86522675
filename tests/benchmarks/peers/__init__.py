"""Our running system beside VictoriaLogs', the same events pushed and the same questions asked over HTTP, in turns.

- `questions`: what is asked, in both languages.
- `server`: what a side must do, and the sides.
- `measure`: load, check, rounds in turn.
"""
